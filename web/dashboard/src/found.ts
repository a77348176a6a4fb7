import type { Match } from "./search.js";

/**
 * Brings a match into sight and marks it, as soon as its item is drawn and the
 * fold around it is filled, and again when its text is drawn anew. It goes by
 * what changes in the page, not by frames: nobody promises how many of them it
 * takes, and a page out of sight gets none. The answer ends it.
 */
export function showMatch(match: Match, wanted: string, mark: (range: Range | undefined) => void): () => void {
  let range: Range | undefined;
  let opened = false;
  let scrolled = false;
  let watched: Element | undefined;

  const observer = new MutationObserver(() => look());
  const watch = (element: Element) => {
    if (watched === element) return;
    watched = element;
    observer.disconnect();
    observer.observe(element, { childList: true, characterData: true, subtree: true });
  };
  const look = () => {
    const item = document.querySelector(`[data-item="${match.item.key}"]`);
    const place = item ?? document.querySelector('[role="log"]');
    if (!place) return;
    watch(place);
    if (!item || isAt(range, wanted)) return;
    const ranges = rangesOf(item, wanted);
    if (!opened && ranges.length <= match.nth) {
      // The inside of a fold is made when it opens. Whoever closes it again may.
      opened = true;
      const fold = item.querySelector<HTMLDetailsElement>("details:not([open])");
      if (fold) fold.open = true;
      item.scrollIntoView({ block: "center" });
      if (fold) return;
    }
    range = ranges[Math.min(match.nth, ranges.length - 1)];
    mark(range);
    const parent = range?.startContainer.parentElement;
    const within = parent?.closest<HTMLDetailsElement>("details:not([open])");
    if (within && !parent!.closest("summary")) within.open = true;
    if (!range || scrolled) return;
    scrolled = true;
    parent!.scrollIntoView({ block: "center" });
  };
  look();
  return () => observer.disconnect();
}

/** Whether a range still marks the text, and not what is left of it after its node was changed or taken away. */
function isAt(range: Range | undefined, wanted: string): boolean {
  return range?.startContainer.isConnected === true && range.toString().toLowerCase() === wanted.toLowerCase();
}

/** Where `wanted` stands in what is drawn. Text that is broken up by markup is found only within one piece. */
function rangesOf(element: Element, wanted: string): Range[] {
  const needle = wanted.toLowerCase();
  const ranges: Range[] = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const haystack = node.textContent!.toLowerCase();
    for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, at + needle.length)) {
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, Math.min(at + needle.length, node.textContent!.length));
      ranges.push(range);
    }
  }
  return ranges;
}
