import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { connected, examples, limit, lines, openConnected, servePages, startBroker, startBrowser } from "./harness.js";

let broker, pages, browser;

before(async () => {
  broker = await startBroker();
  pages = await servePages(broker);
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  pages?.close();
  await broker?.stop();
});

/** Runs the example's push.sh as a backend would. */
async function push(...args) {
  const env = { ...process.env, BROKER: broker.host };
  const { stdout } = await promisify(execFile)(`${examples}/updater/push.sh`, args, { env });
  return JSON.parse(stdout);
}

const count = (page, wanted) =>
  page.waitForFunction((n) => document.querySelectorAll("#messages li").length === n, wanted);

test("one curl of a backend reaches the pages of that extension alone", limit, async () => {
  const [copilot, other] = [
    await openConnected(browser, pages.url("updater/", { id: "copilot" })),
    await openConnected(browser, pages.url("updater/", { id: "other" })),
  ];

  const published = await push("copilot", '{"status": "ready", "load": [1, 2.50], "name": "Grüße 🎺"}');
  assert.equal(published.topic, "copilot");
  assert.equal(published.offset, 1);
  await count(copilot, 1);
  await push("other");
  await count(other, 1);

  assert.match((await lines(copilot))[0], /status: "ready", load: \[1,2\.5\], name: "Grüße 🎺"$/);
  assert.match((await lines(other))[0], /status: "updated"$/);
  assert.equal((await lines(copilot)).length, 1);
});

test("push.sh fails when the update is no JSON, and the page sees nothing of it", limit, async () => {
  const page = await openConnected(browser, pages.url("updater/", { id: "strict" }));

  await assert.rejects(push("strict", "{broken"), (error) => error.code !== 0 && /bad_request/.test(error.stdout));
  await push("strict", '{"fine":true}');
  await count(page, 1);

  assert.match((await lines(page))[0], /fine: true$/);
});

test("the page gets updates again after the broker was killed and started again", limit, async () => {
  const page = await openConnected(browser, pages.url("updater/"));
  await push("copilot", '{"n":1}');
  await count(page, 1);

  await broker.stop();
  await page.waitForSelector('#state:not([data-state="connected"])');
  broker = await startBroker(broker.port);
  await connected(page);
  await push("copilot", '{"n":2}');
  await count(page, 2);

  assert.match((await lines(page))[1], /n: 2$/);
});
