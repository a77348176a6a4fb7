import { createContext } from "preact";
import { useContext, useMemo } from "preact/hooks";
import { exactParts, output } from "./text.js";

/** True around what somebody decides on. */
export const Deciding = createContext(false);

/**
 * A text in which everything can be seen, in the order in which it runs: what is
 * invisible, reorders, or looks like something else, has a mark.
 */
export function Exact({ text, oneLine = false }: { text: string; oneLine?: boolean }) {
  const parts = useMemo(() => exactParts(text, oneLine), [text, oneLine]);
  return (
    <span class="exact" dir="ltr">
      {parts.map((part, index) =>
        part.mark ? (
          <span key={index} class="exact-mark" title="A character that cannot be seen, or looks like another">
            {part.text}
          </span>
        ) : (
          part.text
        ),
      )}
    </span>
  );
}

/** What a tool was given, or what it printed: exactly where somebody decides on it. */
export function ToolText({ text }: { text: string }) {
  return useContext(Deciding) ? <Exact text={text} /> : output(text);
}
