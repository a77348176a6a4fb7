import type { DiffHunk } from "@sessionhub/client";

export interface DiffLine {
  /** `skip` stands for unchanged lines that are not shown; `text` says how many. */
  kind: "same" | "added" | "removed" | "skip";
  text: string;
  /** Where the line is in the new file, or was in the old one; from 1. Undefined where that is not known. */
  number?: number;
}

/** Above this many cells, old times new lines, a change is shown as one block out, one block in. */
const maxCells = 1_000_000;
const contextLines = 3;

/** The lines of a change that came as hunks, with their numbers. */
export function hunkLines(hunks: readonly DiffHunk[]): DiffLine[] {
  const lines: DiffLine[] = [];
  let shown = 0; // of the old file, so far
  for (const { oldStart, oldLines, newStart, lines: changed } of hunks) {
    // A hunk without old lines stands behind the line that it names.
    let before = oldLines === 0 ? oldStart + 1 : oldStart;
    let after = newStart || 1;
    const hidden = before - 1 - shown;
    if (hidden > 0) lines.push({ kind: "skip", text: `${hidden.toLocaleString()} unchanged lines` });
    for (const line of changed) {
      const text = line.slice(1);
      if (line.startsWith("-")) lines.push({ kind: "removed", text, number: before++ });
      else if (line.startsWith("+")) lines.push({ kind: "added", text, number: after++ });
      else if (line.startsWith("\\")) lines.push({ kind: "skip", text });
      else {
        lines.push({ kind: "same", text, number: after++ });
        before++;
      }
    }
    shown = before - 1;
  }
  return lines;
}

/** What a file's unified diff has above its hunks, and the hunks. A last line that is cut is left out. */
export function readPatch(patch: string): { head: string[]; hunks: DiffHunk[] } {
  const head: string[] = [];
  const hunks: DiffHunk[] = [];
  let rest = 0; // lines of the hunk that are to come
  for (const line of patch.split("\n")) {
    const start = rest > 0 ? null : /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    const hunk = hunks.at(-1);
    if (start) {
      const [oldStart, oldLines, newStart, newLines] = start.slice(1).map((digits) => Number(digits ?? 1));
      hunks.push({ oldStart: oldStart!, oldLines: oldLines!, newStart: newStart!, newLines: newLines!, lines: [] });
      rest = oldLines! + newLines!;
    } else if (!hunk) head.push(line);
    else if (line.startsWith("\\")) hunk.lines.push(line);
    else if (rest > 0 && line !== "") {
      hunk.lines.push(line);
      rest -= line.startsWith(" ") ? 2 : 1;
    }
  }
  return { head, hunks };
}

/** A line diff with some context around each change. */
export function diffLines(oldText: string, newText: string): DiffLine[] {
  const before = toLines(oldText);
  const after = toLines(newText);
  // A new file is known whole, so its numbers are.
  if (before.length === 0) return after.map((text, index) => ({ kind: "added", text, number: index + 1 }));
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head++;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  ) {
    tail++;
  }
  const same = (text: string): DiffLine => ({ kind: "same", text });
  return fold([
    ...before.slice(0, head).map(same),
    ...changes(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...before.slice(before.length - tail).map(same),
  ]);
}

function toLines(text: string): string[] {
  if (text === "") return [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** By longest common subsequence; the table counts from the end, so that it is read from the front. */
function changes(before: string[], after: string[]): DiffLine[] {
  const removed = (text: string): DiffLine => ({ kind: "removed", text });
  const added = (text: string): DiffLine => ({ kind: "added", text });
  if (before.length * after.length > maxCells) return [...before.map(removed), ...after.map(added)];

  const width = after.length + 1;
  const common = new Uint32Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      common[i * width + j] =
        before[i] === after[j]
          ? common[(i + 1) * width + j + 1]! + 1
          : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
    }
  }
  const lines: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      lines.push({ kind: "same", text: before[i]! });
      i++;
      j++;
    } else if (
      j === after.length ||
      (i < before.length && common[(i + 1) * width + j]! >= common[i * width + j + 1]!)
    ) {
      lines.push(removed(before[i++]!));
    } else {
      lines.push(added(after[j++]!));
    }
  }
  return lines;
}

function fold(lines: DiffLine[]): DiffLine[] {
  const folded: DiffLine[] = [];
  let start = 0;
  while (start < lines.length) {
    if (lines[start]!.kind !== "same") {
      folded.push(lines[start++]!);
      continue;
    }
    let end = start;
    while (end < lines.length && lines[end]!.kind === "same") end++;
    const above = start === 0 ? 0 : contextLines;
    const below = end === lines.length ? 0 : contextLines;
    const hidden = end - start - above - below;
    if (hidden > 1) {
      folded.push(...lines.slice(start, start + above));
      folded.push({ kind: "skip", text: `${hidden} unchanged lines` });
      folded.push(...lines.slice(end - below, end));
    } else {
      folded.push(...lines.slice(start, end));
    }
    start = end;
  }
  return folded;
}
