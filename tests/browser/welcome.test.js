import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { limit, startBroker, startBrowser } from "./harness.js";

let broker, browser;

before(async () => {
  broker = await startBroker();
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await broker?.stop();
});

/** Publishes until the page's log shows it: the page connects by itself, at a moment of its own. */
async function seesPublication(page, topic, marker) {
  const deadline = Date.now() + 20_000;
  while (!(await page.textContent("#log")).includes(marker)) {
    assert.ok(Date.now() < deadline, `the log never showed ${marker}: ${await page.textContent("#log")}`);
    await broker.publish(topic, JSON.stringify({ text: marker }));
    await page.waitForFunction((text) => document.querySelector("#log").textContent.includes(text), marker, { timeout: 500 })
      .catch(() => {});
  }
}

test("the broker's own page shows what is published to its topic", limit, async () => {
  const page = await browser.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  await page.goto(`http://${broker.host}/`);
  assert.equal(await page.inputValue("#topic"), "hello");

  await seesPublication(page, "hello", "from-a-backend");
  await page.fill("#text", "from-the-page");
  await page.press("#text", "Enter");
  await page.waitForFunction(() => document.querySelector("#log").textContent.includes("from-the-page"));

  await page.fill("#topic", "room:other");
  await page.press("#topic", "Enter");
  await seesPublication(page, "room:other", "after-the-change");
  assert.deepEqual(problems, []);
});

test("the page says why a topic is refused, and does not try again", limit, async () => {
  const page = await browser.newPage();
  await page.goto(`http://${broker.host}/`);
  await page.fill("#topic", "two words");
  await page.press("#topic", "Enter");
  await page.waitForFunction(() => /white space/.test(document.querySelector("#state").textContent));

  // Nothing that was still to come changes it.
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 1000)));
  assert.match(await page.textContent("#state"), /white space/);
  await page.fill("#topic", "oneword");
  await page.press("#topic", "Enter");
  await page.waitForFunction(() => document.querySelector("#state").textContent === "subscribed to oneword");
});
