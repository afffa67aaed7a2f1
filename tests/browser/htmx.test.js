import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { examples, limit, lines, say, seesLine, startBroker, startBrowser } from "./harness.js";

let broker, backend, url, browser;

before(async () => {
  broker = await startBroker();
  backend = spawn(process.execPath, [`${examples}/htmx/server.js`], {
    env: { ...process.env, BROKER: broker.host, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  url = String(await Promise.race([once(backend.stdout, "data"), once(backend, "close")])).trim();
  assert.match(url, /^http:/, "the backend did not start: was `npm ci` run in examples/htmx?");
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  backend?.kill();
  await broker?.stop();
});

async function open() {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  await page.goto(url);
  return page;
}

test("what one says is shown in every page, as text, also in one opened later", limit, async () => {
  const [anna, ben] = [await open(), await open()];
  const markup = "<b>5 > 4</b> & \"so on\"";

  // A page that connects a moment later gets it from the topic's history.
  await say(anna, "hello");
  for (const page of [anna, ben]) await seesLine(page, "hello");
  await say(ben, markup);
  for (const page of [anna, ben]) await seesLine(page, markup);
  const late = await open();
  await seesLine(late, markup);

  for (const page of [anna, ben, late]) assert.deepEqual(await lines(page), ["hello", markup]);
});
