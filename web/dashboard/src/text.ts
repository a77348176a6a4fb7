// How text of strangers is shown: of agents, of the programs they run, of other
// users. docs/TEXT.md has the table; internal/text decides the same in Go, and
// internal/text/testdata/cases.json holds both to it.

/** What takes no room or shows nothing, and what reorders (Unicode, Default_Ignorable_Code_Point; UAX #9). */
const invisibleClass =
  "\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u2800\\u3164" +
  "\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufffb\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}";
const controlClass = "\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f";
const spaceClass = "\\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000";
/** What looks like ASCII and is not, and what is written here itself. */
const alikeClass =
  "\\u01c3\\u037e\\u2010-\\u2012\\u2024\\u2044\\u2212\\u2215\\u2236\\u2400-\\u2426\\u27e8\\u27e9\\u29f8\\ua789\\uff01-\\uff5e\\u{1d400}-\\u{1d7ff}";
/** Letters that look like Latin ones (UTS #39). */
const otherClass =
  "\\u0250-\\u02af\\u0370-\\u037d\\u037f-\\u058f\\u13a0-\\u13ff\\u1c80-\\u1c8f\\u1d00-\\u1d7f\\u1f00-\\u1fff\\u2c80-\\u2cff" +
  "\\u2de0-\\u2dff\\ua4d0-\\ua4ff\\ua640-\\ua69f\\uab70-\\uabbf";

const control = new RegExp(`[${controlClass}]`, "u");
const invisible = new RegExp(`[${invisibleClass}]`, "u");
const selector = /\p{Variation_Selector}/u;
/** What scripts and emoji need: joiners, hyphenation, places to break a line, marks of direction. */
const joiner = /[\u034f\u200b-\u200f\u061c\u00ad\u2060]/u;
const combining = /[\p{Mn}\p{Me}]/u;
const tag = /[\u{e0020}-\u{e007f}]/u;
const space = new RegExp(`[${spaceClass}]`, "u");
const alike = new RegExp(`[${alikeClass}]`, "u");
const other = new RegExp(`[${otherClass}]`, "u");
/** A word with ASCII letters and such as look like them. */
const word = new RegExp(`[A-Za-z${otherClass}]+`, "gu");

/** How many characters without width may follow each other: a flood of them covers the lines around. */
const maxMarks = 8;

/**
 * What is not shown as it stands, from left to right: ends of lines, data: URLs
 * whose content is long (RFC 2397), and escape sequences (ECMA-48: CSI, strings
 * such as OSC with their ends, the short ones that terminals know).
 */
const constructs = new RegExp(
  [
    "\\r+\\n?",
    "(data:[\\w+\\/=.;\\-]{0,186};base64,)[\\w+\\/=\\-]{64,}",
    "(?:\\u001b\\[|\\u009b)[\\u0020-\\u003f]{0,61}[\\u0040-\\u007e]",
    `(?:\\u001b\\]|\\u009d)[^${controlClass}\\t\\n]{0,16384}(?:\\u0007|\\u001b\\\\|\\u009c)`,
    `(?:\\u001b[PX^_]|[\\u0090\\u0098\\u009e\\u009f])[^${controlClass}\\t\\n]{0,16384}(?:\\u001b\\\\|\\u009c)`,
    "\\u001b[()*+\\-.\\/#%][0-~]",
    "\\u001b[78=>cM]",
  ].join("|"),
  "gu",
);

/** Nothing in such a text has to be decided. */
const plain = /^[\t\n\x20-\x7e]*$/;

/** What stands for a character that cannot be seen: the picture that Unicode has for it, or its number. */
function visible(character: string): string {
  const code = character.codePointAt(0)!;
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "\u2421" : `⟨${number(character)}⟩`;
}

function number(character: string): string {
  return `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;
}

/** Replaces the halves of surrogate pairs that have no other half. */
function valid(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

/** What an agent writes, with its line breaks. */
export function prose(text: string): string {
  if (plain.test(text) && !text.includes("data:")) return text;
  const source = valid(text);
  const lines = source.replace(constructs, (found, head: string | undefined, at: number) => {
    if (head !== undefined) return `${head}…`;
    if (!found.startsWith("\r")) return "";
    return found.endsWith("\r") && at + found.length === source.length ? "" : "\n";
  });
  return shape(lines.replace(/[\u2028\u2029]/g, "\n"));
}

function shape(text: string): string {
  if (plain.test(text)) return text;
  let shown = "";
  let based = false;
  let marks = 0;
  let tags = 0;
  for (const character of text) {
    const flag = tags;
    tags = 0;
    if (character >= "\u0020" && character <= "\u007e") {
      based = character !== " ";
      marks = 0;
    } else if (character === "\n" || character === "\t") {
      based = false;
      marks = 0;
    } else if (character === "\u{1f3f4}") {
      based = true;
      marks = 0;
      tags = 1;
    } else if (based && selector.test(character)) {
      based = false;
    } else if (flag > 0 && flag <= maxMarks && tag.test(character)) {
      tags = flag + 1;
    } else if (joiner.test(character) || (combining.test(character) && !invisible.test(character))) {
      if (++marks > maxMarks) {
        shown += visible(character);
        based = false;
        continue;
      }
    } else if (control.test(character) || invisible.test(character)) {
      shown += visible(character);
      based = false;
      continue;
    } else {
      based = true;
      marks = 0;
    }
    shown += character;
  }
  return shown;
}

/** What a terminal would show of what a program printed: of a line that was written over, the last state that shows anything. */
export function output(text: string): string {
  if (!text.includes("\r")) return prose(text);
  return text
    .split("\n")
    .map((line) => {
      for (const state of line.split("\r").toReversed()) {
        const shown = prose(state);
        if (shown.trim() !== "") return shown;
      }
      return "";
    })
    .join("\n");
}

/** A title, a name, an error: prose on one line, with one space for any white space. */
export function line(text: string): string {
  return prose(text)
    .replace(/[\s\u0085]+/gu, " ")
    .trim();
}

/** `line`, of at most so many characters, for where there is little room. */
export function shortLine(text: string, most: number): string {
  const all = [...line(text)];
  return all.length > most ? `${all.slice(0, most - 1).join("")}…` : all.join("");
}

/** A piece of an exact text: characters as they are, or a mark that stands for one, or behind one that looks like another. */
export interface Part {
  text: string;
  mark: boolean;
}

/**
 * What somebody decides on: nothing in it is invisible, and nothing looks like
 * something else. In parts, so that marks can have a look that no text can
 * imitate. On one line, line breaks and tabs are marks, too.
 */
export function exactParts(text: string, oneLine = false): Part[] {
  if (plain.test(text) && !(oneLine && /[\t\n]/.test(text))) return text === "" ? [] : [{ text, mark: false }];
  const source = valid(text);
  const mixed = new Set<number>();
  for (const found of source.matchAll(word)) {
    if (!/[A-Za-z]/.test(found[0]) || !other.test(found[0])) continue;
    for (let at = 0; at < found[0].length; at++) mixed.add(found.index + at);
  }
  const parts: Part[] = [];
  let run = "";
  const mark = (sign: string) => {
    if (run !== "") parts.push({ text: run, mark: false });
    run = "";
    parts.push({ text: sign, mark: true });
  };
  let at = 0;
  let marks = 0;
  for (const character of source) {
    marks = combining.test(character) && !invisible.test(character) ? marks + 1 : 0;
    if (control.test(character) || (oneLine && (character === "\n" || character === "\t"))) {
      mark(visible(character).replace(/[⟨⟩]/g, ""));
    } else if (invisible.test(character) || space.test(character) || marks > maxMarks) {
      mark(number(character));
    } else {
      run += character;
      if (alike.test(character) || (mixed.has(at) && other.test(character))) mark(number(character));
    }
    at += character.length;
  }
  if (run !== "") parts.push({ text: run, mark: false });
  return parts;
}

/** `exactParts` where marks have no look of their own. */
export function exact(text: string, oneLine = false): string {
  return exactParts(text, oneLine)
    .map((part) => (part.mark && part.text.startsWith("U+") ? `⟨${part.text}⟩` : part.text))
    .join("");
}

/** `exact` on one line: line breaks and tabs are shown, too. */
export function exactLine(text: string): string {
  return exact(text, true);
}
