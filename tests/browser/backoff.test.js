import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { limit, servePages, startBrowser } from "./harness.js";

let pages, browser;

before(async () => {
  pages = await servePages({ host: "127.0.0.1:1" });
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  pages?.close();
});

test("close codes are obeyed by their range, and waits grow up to a bound, with jitter", limit, async () => {
  const page = await browser.newPage();
  await page.goto(pages.url("shared/page.css"));
  const { final, first, late } = await page.evaluate(async () => {
    const { Backoff, isFinal } = await import("/shared/backoff.js");
    const codes = [1000, 1001, 1003, 1006, 1007, 1009, 1010, 1012, 1013, 4399, 4400, 4499, 4500, 4508, 4999];
    const first = Array.from({ length: 200 }, () => new Backoff().closed(1006));
    const tired = new Backoff();
    for (let i = 0; i < 50; i++) tired.closed(1006);
    const late = Array.from({ length: 200 }, () => tired.closed(1006));
    return { final: codes.filter(isFinal), first, late };
  });

  assert.deepEqual(final, [1000, 1003, 1007, 1009, 1010, 4400, 4499]);
  for (const wait of first) assert.ok(wait >= 0 && wait < 500, `${wait}`);
  for (const wait of late) assert.ok(wait >= 0 && wait < 15_000, `${wait}`);
  // 200 draws that all fall on one side would be no jitter.
  assert.ok(Math.min(...first) < 250 && Math.max(...first) > 250);
  assert.ok(Math.min(...late) < 7_500 && Math.max(...late) > 7_500);
});
