import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { connected, limit, lines, openConnected, say, seesLine, servePages, startBroker, startBrowser } from "./harness.js";

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

const enter = (room) => openConnected(browser, pages.url("chat/", { room }));

test("two tabs chat, and a sender does not get its own words back", limit, async () => {
  const [anna, ben] = [await enter("talk"), await enter("talk")];

  await say(anna, "good morning");
  await seesLine(ben, "A client says: good morning");
  await say(ben, "and to you");
  await seesLine(anna, "A client says: and to you");

  // A room's publications come in order: had Anna's own come back, it would stand before Ben's answer.
  assert.deepEqual(await lines(anna), ["You wrote: good morning", "A client says: and to you"]);
  assert.deepEqual(await lines(ben), ["A client says: good morning", "You wrote: and to you"]);
});

test("a room does not hear the other room", limit, async () => {
  const [anna, ben, carl] = [await enter("red"), await enter("red"), await enter("blue")];

  await say(anna, "red only");
  await seesLine(ben, "A client says: red only");
  await broker.publish("room:blue", "blue only", "text/plain");
  await seesLine(carl, "A client says: blue only");

  assert.deepEqual(await lines(carl), ["A client says: blue only"]);
  assert.deepEqual(await lines(ben), ["A client says: red only"]);
});

test("a room may have any name that somebody types", limit, async () => {
  const names = ["tea time", "  50% *off* > / ?#&", "部屋 🎺"];
  for (const name of names) {
    const [anna, ben] = [await enter(name), await enter("elsewhere")];
    await ben.fill("#room", name);
    await ben.press("#room", "Enter");
    await ben.waitForFunction(() => document.title !== "Chat: elsewhere");
    await connected(ben);
    await say(ben, "here");
    await seesLine(anna, "A client says: here");
  }
});

test("markup in a message stays text", limit, async () => {
  const [anna, ben] = [await enter("markup"), await enter("markup")];
  const markup = '<img src=x onerror="document.title = `owned`"><b>bold</b>';

  await say(anna, markup);
  await seesLine(ben, `A client says: ${markup}`);

  for (const page of [anna, ben]) assert.equal(await page.$("#messages img, #messages b"), null);
});

for (const [signal, how] of [["SIGKILL", "killed"], ["SIGTERM", "stopped"]]) {
  test(`the chat goes on after the broker was ${how} and started again`, limit, async () => {
    const [anna, ben] = [await enter(how), await enter(how)];
    await say(anna, "before");
    await seesLine(ben, "A client says: before");

    const ending = await broker.stop(signal);
    assert.equal(ending, signal === "SIGKILL" ? "SIGKILL" : 0);
    for (const page of [anna, ben]) await page.waitForSelector('#state:not([data-state="connected"])');
    // Without a connection nothing is sent, and nothing that was typed is lost.
    await say(anna, "meanwhile");
    assert.deepEqual(await lines(anna), ["You wrote: before"]);
    assert.equal(await anna.inputValue("#text"), "meanwhile");

    broker = await startBroker(broker.port);
    for (const page of [anna, ben]) await connected(page);
    await say(anna, "after");
    await seesLine(ben, "A client says: after");
    assert.deepEqual(await lines(ben), ["A client says: before", "A client says: after"]);
  });
}
