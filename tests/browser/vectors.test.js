// The frames of protocol/vectors as a page gets them, read by a browser's JSON and by a MessagePack that is not ours.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { limit, startBrowser } from "./harness.js";

const folder = new URL("../../protocol/vectors/", import.meta.url);
const umd = createRequire(import.meta.url).resolve("@msgpack/msgpack").replace(/dist\.cjs.*/, "dist.umd/msgpack.min.js");

/** Runs in the page: both forms of a vector, as plain values. What cannot be read is `null`. */
function read({ json, msgpack: digits }) {
  const bytes = Uint8Array.from(digits.match(/../g), (byte) => Number.parseInt(byte, 16));
  const reads = (read) => {
    try {
      return [read()].flat();
    } catch {
      return null;
    }
  };
  const text = (data) => (typeof data === "string" ? data : new TextDecoder().decode(data));
  // MessagePack carries what is published as it came: JSON as its text, bytes as bytes.
  const publication = ({ data, ...rest }) => {
    const kind = rest.kind ?? "json";
    if (data === undefined) return rest;
    if (kind === "json") return { ...rest, data: JSON.parse(text(data)) };
    return { ...rest, data: kind === "text" ? text(data) : btoa(String.fromCharCode(...data)) };
  };
  const frame = (of) => {
    const { messages, ...rest } = publication(of);
    return messages === undefined ? rest : { ...rest, messages: messages.map(publication) };
  };
  return {
    json: reads(() => JSON.parse(json)),
    msgpack: reads(() => MessagePack.decode(bytes))?.map((of) => (typeof of?.type === "string" ? frame(of) : of)),
  };
}

for (const file of ["client", "server"]) {
  test(`a page reads the vectors of what a ${file} sends, alike in both codecs`, limit, async (t) => {
    const vectors = JSON.parse(await readFile(new URL(`${file}.json`, folder), "utf8"));
    assert.ok(vectors.length > 0);
    assert.equal(new Set(vectors.map(({ name }) => name)).size, vectors.length, "each has its own name");
    const browser = await startBrowser();
    t.after(() => browser.close());
    const page = await browser.newPage();
    await page.addScriptTag({ path: umd });

    for (const vector of vectors) {
      const { direction, type, name, is } = vector;
      assert.equal(direction, file, name);
      assert.match(vector.msgpack, /^([0-9a-f]{2})+$/, name);
      // What is no frame may be nothing at all, and of what is refused either codec has faults of its own.
      if (is === "not_a_frame") continue;
      const values = is === "refused" ? { json: JSON.parse(vector.json) } : await page.evaluate(read, vector);
      const frames = [values.json].flat();
      assert.deepEqual(frames.map((frame) => frame.type), [type], name);
      if (is === "canonical") {
        assert.equal(name.split(/[ ,]/)[0], type);
        assert.deepEqual(values.msgpack, values.json, name);
      } else if (is === "variant") {
        assert.deepEqual(values.msgpack.map((frame) => frame.type), [type], name);
      }
    }
  });
}
