// A page on the web must not reach a developer's local broker: see `server.allowed_origins`.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { request } from "node:http";
import { after, before, test } from "node:test";
import { limit, openConnected, servePages, startBroker, startBrowser } from "./harness.js";

let broker, pages, browser;

before(async () => {
  broker = await startBroker();
  pages = await servePages(broker);
  browser = await startBrowser("--host-resolver-rules=MAP evil.test 127.0.0.1");
});

after(async () => {
  await browser?.close();
  pages?.close();
  await broker?.stop();
});

/** The status that the broker answers a WebSocket handshake with. */
function handshake(path, headers) {
  return new Promise((resolve, reject) => {
    const asked = request({
      host: "127.0.0.1",
      port: broker.port,
      path,
      agent: false,
      headers: {
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
        ...headers,
      },
    });
    asked.once("error", reject);
    asked.once("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.once("upgrade", (response, socket) => {
      socket.destroy();
      resolve(response.statusCode);
    });
    asked.end();
  });
}

const FOREIGN = [
  "null",
  "http://evil.test",
  "https://evil.test:8000",
  "http://127.0.0.1.evil.test",
  "http://localhost.evil.test",
  "http://evil.test#127.0.0.1",
  "http://127.0.0.1@evil.test",
];

const LOCAL = ["http://127.0.0.1:9000", "http://127.0.0.2", "http://localhost:3000", "https://localhost", "http://[::1]:9000"];

test("a handshake from a foreign origin is refused with 403", limit, async () => {
  for (const path of ["/ws", "/ws/room:talk"]) {
    for (const Origin of FOREIGN) assert.equal(await handshake(path, { Origin }), 403, `${path} from ${Origin}`);
  }
});

test("a handshake from loopback, or from no browser, is taken", limit, async () => {
  for (const path of ["/ws", "/ws/room:talk"]) {
    for (const Origin of LOCAL) assert.equal(await handshake(path, { Origin }), 101, `${path} from ${Origin}`);
    assert.equal(await handshake(path, {}), 101, `${path} without an origin`);
  }
});

test("a page of a foreign origin cannot connect, the same page from loopback can", limit, async () => {
  const page = await browser.newPage();
  const refused = new Promise((resolve) => {
    page.on("websocket", (socket) => socket.on("socketerror", resolve));
  });
  await page.goto(pages.url("chat/", { room: "talk" }, "evil.test"));
  assert.match(await refused, /403/);
  assert.notEqual(await page.getAttribute("#state", "data-state"), "connected");
  await page.close();

  await openConnected(browser, pages.url("chat/", { room: "talk" }));
});

test("a foreign name that resolves to this machine does not make its page the broker's own", limit, async () => {
  const page = await browser.newPage();
  const response = await page.goto(`http://evil.test:${broker.port}/`);
  assert.equal(response.status(), 403);
  assert.match(await response.text(), /evil\.test.*allowed_origins/);
});

test("a page of a foreign origin cannot publish over HTTP either", limit, async () => {
  const listener = await openConnected(browser, pages.url("chat/", { room: "forged" }));
  const page = await browser.newPage();
  await page.goto(pages.url("chat/", {}, "evil.test"));
  // A form's content type: the browser sends it without asking the broker first.
  await page.evaluate(
    (url) => fetch(url, { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body: "forged" }),
    `http://${broker.host}/v1/topics/room:forged/messages`,
  );
  await broker.publish("room:forged", "honest", "text/plain");
  await listener.waitForSelector("#messages li");

  assert.deepEqual(await listener.$$eval("#messages li", (all) => all.map((line) => line.textContent)), ["A client says: honest"]);
});
