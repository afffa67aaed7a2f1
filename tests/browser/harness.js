// What every browser test needs: a broker, the example pages served on loopback, and a browser. All on free ports.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Where the pages live. */
export const examples = join(root, "examples");

const targetDir = process.env.CARGO_TARGET_DIR ?? join(root, "target");
const brokerPath = process.env.FANFARE_BIN ?? join(targetDir, "debug", "fanfare");
const chromiumPath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** How long a test waits for anything before it fails. */
const PATIENCE_MS = 20_000;

/** For `test()`: no test may hang the run. */
export const limit = { timeout: 90_000 };

/** Starts a broker; with a `port` on that one, as after a restart. */
export async function startBroker(port = 0) {
  const child = spawn(brokerPath, ["serve", "--listen", `127.0.0.1:${port}`, "--admin-listen", "127.0.0.1:0"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, FANFARE_BIN: "", FANFARE_SERVER__DRAIN_WINDOW: "100ms" },
  });
  const ended = new Promise((resolve) => child.once("close", (code, signal) => resolve(signal ?? code)));
  const host = await publicAddress(child);
  return {
    /** `HOST:PORT`. */
    host,
    port: Number(host.split(":").at(-1)),
    /** Sends a signal and waits for the end; gives the exit code, or the signal's name. */
    async stop(signal = "SIGKILL") {
      child.kill(signal);
      return ended;
    },
    /** Publishes as a backend does. */
    async publish(topic, body, type = "application/json") {
      const url = `http://${host}/v1/topics/${encodeURIComponent(topic)}/messages`;
      const response = await fetch(url, { method: "POST", headers: { "Content-Type": type }, body });
      assert.equal(response.status, 200, await response.text());
    },
  };
}

/** The public address in the log line that a starting broker writes. */
function publicAddress(child) {
  return new Promise((resolve, reject) => {
    const log = [];
    const fail = (why) => {
      child.kill("SIGKILL");
      reject(new Error(`${brokerPath}: ${why}\n${log.join("\n")}`));
    };
    const timer = setTimeout(() => fail("did not start in time"), PATIENCE_MS);
    child.once("error", (error) => fail(error.message));
    child.once("close", (code) => fail(`ended with ${code}`));
    // The lines after the start are read on, or a full pipe would block the broker.
    createInterface({ input: child.stderr }).on("line", (line) => {
      if (log.push(line) > 100) log.shift();
      const address = /"public":"([^"]+)"/.exec(line)?.[1];
      if (address === undefined) return;
      clearTimeout(timer);
      resolve(address);
    });
  });
}

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css" };

/** Serves the example pages; `url(page, query)` is a page's address with the broker's in it. */
export async function servePages(broker) {
  const server = createServer(async (request, response) => {
    try {
      let path = join(examples, normalize(decodeURIComponent(new URL(request.url, "http://x").pathname)));
      if ((await stat(path)).isDirectory()) path = join(path, "index.html");
      const body = await readFile(path);
      response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  return {
    port,
    url: (page, query = {}, host = "127.0.0.1") =>
      `http://${host}:${port}/${page}?${new URLSearchParams({ broker: broker.host, ...query })}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Starts a headless Chromium. */
export async function startBrowser(...more) {
  return chromium.launch({
    executablePath: chromiumPath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...more,
    ],
  });
}

/** Opens a page and waits until its WebSocket is connected. */
export async function openConnected(browser, url) {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(url);
  await connected(page);
  return page;
}

/** Waits until the page shows that it is connected. */
export async function connected(page) {
  await page.waitForSelector('#state[data-state="connected"]');
}

/** Waits until the page shows a line with this text. */
export async function seesLine(page, text) {
  const shows = (wanted) => [...document.querySelectorAll("#messages li")].some((line) => line.textContent === wanted);
  await page.waitForFunction(shows, text);
}

/** All lines that the page shows. */
export async function lines(page) {
  return page.$$eval("#messages li", (all) => all.map((line) => line.textContent));
}

/** Writes a message into the page's form and sends it. */
export async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}
