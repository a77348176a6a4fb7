import assert from "node:assert/strict";
import { test } from "node:test";

import { toDrawnLines } from "../src/long-lines.js";

test("a line of endless length is cut between characters, and nothing of it is lost", () => {
  const text = `short\n\n${"a".repeat(3_999)}${"\u{1f600}".repeat(5_000)}`;
  const lines = toDrawnLines(text);
  assert.deepEqual(lines.slice(0, 2), ["short", ""]);
  assert.equal(lines.join(""), text.replaceAll("\n", ""));
  for (const line of lines) assert.doesNotMatch(line, /\p{Surrogate}/u);
});
