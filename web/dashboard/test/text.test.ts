import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { exact, exactLine, exactParts, line, output, prose, shortLine } from "../src/text.js";

// The table that internal/text/text_test.go reads, too.
const cases = JSON.parse(
  readFileSync(new URL("../../../internal/text/testdata/cases.json", import.meta.url), "utf8"),
) as Record<string, string>[];
const ways: Record<string, (text: string) => string> = { prose, output, line, exact: (text) => exact(text), exactLine };

test("text is shown as the hub's own programs show it", () => {
  assert.ok(cases.length > 20);
  for (const { name, in: text, ...wanted } of cases) {
    for (const [way, want] of Object.entries(wanted)) assert.equal(ways[way]!(text!), want, `${name}, ${way}`);
  }
});

test("a half of a character that is alone is replaced, two that meet are one", () => {
  assert.equal(prose("a\ud83db"), "a\ufffdb");
  assert.equal(exact("a\ude00"), "a\ufffd");
  assert.equal(prose("a\ud83d" + "\ude00"), "a\u{1f600}");
});

test("a mark cannot be imitated, since it is a part of its own", () => {
  assert.deepEqual(exactParts("a\u202eb U+202E"), [
    { text: "a", mark: false },
    { text: "U+202E", mark: true },
    { text: "b U+202E", mark: false },
  ]);
});

test("whatever comes, nothing acts, and nothing is hidden where somebody decides", () => {
  const pieces = [
    "a",
    " ",
    "\n",
    "\r",
    "\t",
    "\u001b",
    "[",
    "31m",
    "]0;",
    "\u0007",
    "\\",
    "\u009b",
    "\u202e",
    "\u2066",
    "\u200d",
    "\ufe0f",
    "\u0301",
    "\u{e0041}",
    "\u{1f3f4}",
    "\ud83d",
    "\u00a0",
    "о",
    "\u2028",
    `data:a/b;base64,${"A".repeat(70)}`,
  ];
  let seed = 1;
  const next = () => (seed = (seed * 48271) % 2147483647);
  for (let round = 0; round < 3_000; round++) {
    const text = Array.from({ length: next() % 12 }, () => pieces[next() % pieces.length]).join("");
    for (const shown of [prose(text), output(text), line(text), exact(text), exactLine(text)]) {
      assert.doesNotMatch(shown, /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/, JSON.stringify(text));
    }
    assert.doesNotMatch(exact(text), /[\u200b-\u200f\u00a0\u2028]|\ufe0f|\u{e0041}/u, JSON.stringify(text));
    assert.doesNotMatch(line(text) + exactLine(text), /\n/, JSON.stringify(text));
  }
});

test("a short line is cut between characters", () => {
  assert.equal(shortLine("\u{1f600}\u{1f600}\u{1f600}", 2), "\u{1f600}…");
  assert.equal(shortLine("a\n b", 9), "a b");
});
