import assert from "node:assert/strict";
import { test } from "node:test";

import { diffLines, hunkLines, readPatch } from "../src/diff.js";

const marks = { same: " ", added: "+", removed: "-", skip: "@" };
const show = (before: string, after: string) => diffLines(before, after).map((line) => marks[line.kind] + line.text);

test("a new file is all added, an emptied one all removed", () => {
  assert.deepEqual(show("", "a\nb\n"), ["+a", "+b"]);
  assert.deepEqual(show("a\nb", ""), ["-a", "-b"]);
});

test("one line that changed has its neighbours, and the rest is folded", () => {
  const lines = Array.from({ length: 20 }, (_, index) => `line ${index}`);
  const changed = lines.with(10, "new");
  assert.deepEqual(show(lines.join("\n"), changed.join("\n")), [
    "@7 unchanged lines",
    " line 7",
    " line 8",
    " line 9",
    "-line 10",
    "+new",
    " line 11",
    " line 12",
    " line 13",
    "@6 unchanged lines",
  ]);
});

test("lines that stay between two changes are kept as they are", () => {
  assert.deepEqual(show("a\nb\nc\nd", "a\nx\nc\ny"), [" a", "-b", "+x", " c", "-d", "+y"]);
});

test("equal texts have nothing but one fold", () => {
  assert.deepEqual(show("a\nb\nc", "a\nb\nc"), ["@3 unchanged lines"]);
});

test("both texts can be rebuilt from any diff, also from one that is too large to be a fine one", () => {
  const random = (seed: number, lines: number) => {
    let state = seed;
    return Array.from({ length: lines }, () => {
      state = (state * 1103515245 + 12345) % 2147483648;
      return `v${state % 7}`;
    });
  };
  for (const size of [5, 40, 1500]) {
    const before = random(size, size);
    const after = random(size + 1, size + 3);
    const lines = diffLines(before.join("\n"), after.join("\n"));
    // With no run of equal lines long enough to be folded, nothing is hidden.
    assert.ok(lines.every((line) => line.kind !== "skip"));
    assert.deepEqual(
      lines.filter((line) => line.kind !== "added").map((line) => line.text),
      before,
    );
    assert.deepEqual(
      lines.filter((line) => line.kind !== "removed").map((line) => line.text),
      after,
    );
  }
});

test("hunks keep the numbers that their lines have in the file, and say what they leave out", () => {
  const lines = hunkLines([
    { oldStart: 8000, oldLines: 3, newStart: 8000, newLines: 3, lines: [" a", "-b", "+B", " c"] },
    { oldStart: 9000, oldLines: 0, newStart: 9001, newLines: 1, lines: ["+d"] },
  ]);
  assert.deepEqual(
    lines.map(({ kind, text, number }) => [kind, text, number]),
    [
      ["skip", `${(7999).toLocaleString()} unchanged lines`, undefined],
      ["same", "a", 8000],
      ["removed", "b", 8001],
      ["added", "B", 8001],
      ["same", "c", 8002],
      ["skip", "998 unchanged lines", undefined],
      ["added", "d", 9001],
    ],
  );
});

test("the hunks of a patch are read by their lengths, not by how their lines look", () => {
  const patch = [
    "diff --git a/x b/x",
    "--- a/x",
    "+++ b/x",
    "@@ -1,3 +1,3 @@ func f()",
    " one",
    "--- two",
    "+@@ -9,9 +9,9 @@",
    " three",
    "\\ No newline at end of file",
    "@@ -10 +10,0 @@",
    "-ten",
    "",
  ].join("\n");
  const { head, hunks } = readPatch(patch);
  assert.deepEqual(head, ["diff --git a/x b/x", "--- a/x", "+++ b/x"]);
  assert.deepEqual(hunks, [
    {
      oldStart: 1,
      oldLines: 3,
      newStart: 1,
      newLines: 3,
      lines: [" one", "--- two", "+@@ -9,9 +9,9 @@", " three", "\\ No newline at end of file"],
    },
    { oldStart: 10, oldLines: 1, newStart: 10, newLines: 0, lines: ["-ten"] },
  ]);
});

test("a patch without hunks is all head", () => {
  assert.deepEqual(readPatch("diff --git a/x b/x\nBinary files differ"), {
    head: ["diff --git a/x b/x", "Binary files differ"],
    hunks: [],
  });
});
