import { line, output, prose } from "./text.js";
import type { Item } from "./transcript.js";

/** A place in the transcript: the nth match within one item. */
export interface Match {
  item: Item;
  index: number;
  nth: number;
}

/** More matches than these are counted as one more, and not walked through. */
export const maxMatches = 1_000;

/** The text of an item as far as a reader would look for it. */
export function itemText(item: Item): string {
  switch (item.kind) {
    case "message":
    case "answer":
    case "thought":
    case "note":
      return prose(item.text);
    case "tool":
      return [line(item.call.title ?? ""), text(item.call.input), text(item.call.output), text(item.call.content)]
        .filter(Boolean)
        .join("\n");
    case "plan":
      return item.entries.map((entry) => prose(entry.content)).join("\n");
    case "approval":
      return [item.request.title, text(item.request.input)].filter(Boolean).join("\n");
    case "elicitation":
      return [item.request.message, item.request.url, text(item.resolved?.content)].filter(Boolean).join("\n");
    case "complete":
      return prose(item.data.error?.message ?? "");
    case "gap":
    case "updates":
      return "";
  }
}

/** Every place where `wanted` stands, whatever its case, from the first item on. */
export function search(items: readonly Item[], wanted: string): Match[] {
  const needle = wanted.toLowerCase();
  const matches: Match[] = [];
  if (needle === "") return matches;
  for (const [index, item] of items.entries()) {
    const haystack = itemText(item).toLowerCase();
    let nth = 0;
    for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, at + needle.length)) {
      matches.push({ item, index, nth: nth++ });
      if (matches.length > maxMatches) return matches;
    }
  }
  return matches;
}

function text(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "string") return output(value);
  if (Array.isArray(value)) return value.map(text).join("\n");
  if (typeof value === "object") return Object.values(value).map(text).join("\n");
  return String(value);
}
