// The backend of the htmx chat: it serves the page, and turns what somebody says into HTML that it publishes.
//
//   BROKER=127.0.0.1:8000 PORT=9001 node server.js

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const broker = process.env.BROKER ?? "127.0.0.1:8000";
const port = Number(process.env.PORT ?? 9001);
const BODY_BYTES_MAX = 16 * 1024;

const file = (path) => readFile(new URL(path, import.meta.url), "utf8");
const FILES = {
  "/": ["text/html; charset=utf-8", (await file("index.html")).replace("{{broker}}", broker)],
  "/shared/page.css": ["text/css", await file("../shared/page.css")],
  "/htmx.js": ["text/javascript", await file("node_modules/htmx.org/dist/htmx.min.js")],
  "/htmx-ws.js": ["text/javascript", await file("node_modules/htmx-ext-ws/ws.js")],
};

/** What somebody said is their text, never markup. */
function escapeHtml(text) {
  return text.replace(/[&<>"']/g, (c) => `&#${c.codePointAt(0)};`);
}

/** The form's field `text`. */
async function readText(request) {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) {
    body += chunk;
    if (body.length > BODY_BYTES_MAX) throw new Error("the form is too long");
  }
  return new URLSearchParams(body).get("text") ?? "";
}

/** Publishes a line for every open page: to be added at the end of the list. */
async function say(text) {
  const html = `<ul id="messages" hx-swap-oob="beforeend"><li>${escapeHtml(text)}</li></ul>`;
  const response = await fetch(`http://${broker}/v1/topics/htmx:chat/messages`, {
    method: "POST",
    headers: { "Content-Type": "text/html" },
    body: html,
  });
  if (!response.ok) throw new Error(`the broker answered ${response.status}: ${await response.text()}`);
}

const server = createServer(async (request, response) => {
  try {
    if (request.method === "POST" && request.url === "/say") {
      await say(await readText(request));
      response.writeHead(204).end();
    } else if (request.url in FILES) {
      const [type, body] = FILES[request.url];
      response.writeHead(200, { "Content-Type": type }).end(body);
    } else {
      response.writeHead(404).end();
    }
  } catch (error) {
    console.error(error.message);
    response.writeHead(502).end();
  }
});

server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
