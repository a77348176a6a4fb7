import { useEffect, useRef, useState } from "preact/hooks";
import { showMatch } from "./found.js";
import { maxMatches, search, type Match } from "./search.js";
import type { SessionModel } from "./session-model.js";

const highlightName = "found";

/** Looks for text in the transcript, also in what is not drawn at the moment. */
export function SearchBar({ model, onClose }: { model: SessionModel; onClose: () => void }) {
  const [wanted, setWanted] = useState("");
  const [matches, setMatches] = useState<Match[]>([]);
  const [current, setCurrent] = useState(0);
  const box = useRef<HTMLInputElement>(null);
  const length = model.transcript.value.length.value;

  useEffect(() => {
    box.current?.focus();
    return () => {
      model.revealed.value = undefined;
      highlight(undefined);
    };
  }, []);

  // Looks again when the user stops typing, or when more has come.
  useEffect(() => {
    const timer = setTimeout(() => setMatches(search(model.transcript.peek().items, wanted)), 150);
    return () => clearTimeout(timer);
  }, [wanted, length]);
  useEffect(() => setCurrent(0), [wanted]);

  const match = matches[current];
  useEffect(() => {
    if (!match) return highlight(undefined);
    model.revealed.value = match.index;
    return showMatch(match, wanted, highlight);
  }, [match?.item, match?.nth, wanted]);

  const step = (by: number) => {
    if (matches.length > 0) setCurrent((now) => (now + by + matches.length) % matches.length);
  };
  const count = matches.length > maxMatches ? `${maxMatches}+` : String(matches.length);
  return (
    <form
      class="search-bar"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        step(1);
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
        if (event.key === "Enter" && event.shiftKey) {
          event.preventDefault();
          step(-1);
        }
      }}
    >
      <input
        ref={box}
        type="search"
        value={wanted}
        onInput={(event) => setWanted(event.currentTarget.value)}
        placeholder="Search this transcript"
        aria-label="Search this transcript"
        autocomplete="off"
        data-testid="search-box"
      />
      <span class="muted" role="status" data-testid="search-count">
        {wanted === "" ? "" : matches.length === 0 ? "Nothing found" : `${current + 1} of ${count}`}
      </span>
      <button
        type="button"
        class="quiet"
        onClick={() => step(-1)}
        aria-label="Previous match"
        disabled={matches.length === 0}
      >
        <span aria-hidden="true">↑</span>
      </button>
      <button type="submit" class="quiet" aria-label="Next match" disabled={matches.length === 0}>
        <span aria-hidden="true">↓</span>
      </button>
      <button type="button" class="quiet" onClick={onClose} aria-label="Close search">
        <span aria-hidden="true">✕</span>
      </button>
    </form>
  );
}

/** Marks the match without touching the page's elements, where the browser can (Firefox since 140). */
function highlight(range: Range | undefined): void {
  const highlights = (CSS as { highlights?: HighlightRegistry }).highlights;
  if (!highlights) return;
  if (range) highlights.set(highlightName, new Highlight(range));
  else highlights.delete(highlightName);
}
