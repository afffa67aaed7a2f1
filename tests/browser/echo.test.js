import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { limit, lines, openConnected, say, seesLine, servePages, startBroker, startBrowser } from "./harness.js";

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

test("what a tab sends comes back to it, in order, and to no other tab", limit, async () => {
  const [one, two] = [
    await openConnected(browser, pages.url("echo/")),
    await openConnected(browser, pages.url("echo/")),
  ];

  for (const text of ["first", "second", "zwei Wörter, ein 🎺"]) await say(one, text);
  await seesLine(one, "Received: zwei Wörter, ein 🎺");
  await say(two, "mine");
  await seesLine(two, "Received: mine");

  assert.deepEqual(await lines(one), ["Received: first", "Received: second", "Received: zwei Wörter, ein 🎺"]);
  assert.deepEqual(await lines(two), ["Received: mine"]);
});
