// The frames of protocol/vectors as a page gets them: JSON that JavaScript parses, and digits that are bytes.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const folder = new URL("../../protocol/vectors/", import.meta.url);

for (const file of ["client", "server"]) {
  test(`JavaScript reads the vectors of what a ${file} sends`, async () => {
    const vectors = JSON.parse(await readFile(new URL(`${file}.json`, folder), "utf8"));
    assert.ok(vectors.length > 0);
    assert.equal(new Set(vectors.map(({ name }) => name)).size, vectors.length, "each has its own name");

    for (const { direction, type, name, is, json, msgpack } of vectors) {
      assert.equal(direction, file, name);
      assert.match(msgpack, /^([0-9a-f]{2})+$/, name);
      // What is no frame may be no JSON.
      if (is === "not_a_frame") continue;
      const frames = [JSON.parse(json)].flat();
      assert.deepEqual(frames.map((frame) => frame.type), [type], name);
      if (is === "canonical") assert.equal(name.split(/[ ,]/)[0], type);
    }
  });
}
