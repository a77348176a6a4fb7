import { useEffect, useRef, useState } from "preact/hooks";
import type { SessionFiles } from "./files.js";
import { Exact } from "./exact.js";

/** How long nothing is typed before the hub is asked. Milliseconds. */
const pauseMs = 120;
const mostNames = 8;

/** The name that is being typed behind an `@`, and where the `@` is. */
function nameAt(text: string, caret: number): { query: string; at: number } | undefined {
  const match = /(?:^|[\s(])@([^\s@]{1,200})$/.exec(text.slice(0, caret));
  return match ? { query: match[1]!, at: caret - match[1]!.length - 1 } : undefined;
}

export interface FileNames {
  names: readonly string[];
  chosen: number;
  /** To be called with each change of the text or the caret. */
  look(text: string, caret: number): void;
  /** True: the key was for the names. */
  onKey(key: string, choose: (text: string, caret: number) => void): boolean;
  /** The text with a name in it, and where the caret goes. */
  take(name: string): { text: string; caret: number };
  close(): void;
}

/** Completes names of files behind an `@`. Without `files` it finds nothing. */
export function useFileNames(files: SessionFiles | undefined): FileNames {
  const [names, setNames] = useState<readonly string[]>([]);
  const [chosen, setChosen] = useState(0);
  const typed = useRef({ text: "", caret: 0, at: 0 });
  const asked = useRef<{ query: string; timer: ReturnType<typeof setTimeout> } | undefined>(undefined);
  const close = () => {
    clearTimeout(asked.current?.timer);
    asked.current = undefined;
    setNames([]);
  };
  useEffect(() => () => clearTimeout(asked.current?.timer), []);
  const take = (name: string) => {
    const { text, caret, at } = typed.current;
    const space = name.endsWith("/") || text[caret] === " " ? "" : " ";
    close();
    return {
      text: `${text.slice(0, at)}@${name}${space}${text.slice(caret)}`,
      caret: at + 1 + name.length + space.length,
    };
  };
  return {
    names,
    chosen,
    close,
    take,
    look(text, caret) {
      const name = files && nameAt(text, caret);
      if (!name) return close();
      typed.current = { text, caret, at: name.at };
      if (asked.current?.query === name.query) return;
      clearTimeout(asked.current?.timer);
      const question = { query: name.query, timer: setTimeout(() => void ask(), pauseMs) };
      asked.current = question;
      const ask = async () => {
        // Nobody asked for the names: that they cannot be had is no news.
        const found = await files.search(name.query, mostNames).catch(() => []);
        if (asked.current !== question) return;
        setNames(found);
        setChosen(0);
      };
    },
    onKey(key, choose) {
      if (names.length === 0) return false;
      if (key === "ArrowDown") setChosen((chosen + 1) % names.length);
      else if (key === "ArrowUp") setChosen((chosen + names.length - 1) % names.length);
      else if (key === "Escape") close();
      else if (key === "Enter" || key === "Tab") {
        const { text, caret } = take(names[chosen]!);
        choose(text, caret);
      } else return false;
      return true;
    },
  };
}

/** The names that were found, above the message box. */
export function FileNameList({ files, choose }: { files: FileNames; choose: (text: string, caret: number) => void }) {
  if (files.names.length === 0) return null;
  return (
    <div class="file-names" id="file-names" role="listbox" aria-label="Files" data-testid="file-names">
      {files.names.map((name, index) => (
        <div
          key={name}
          id={`file-name-${index}`}
          role="option"
          tabIndex={-1}
          aria-selected={index === files.chosen}
          onPointerDown={(event) => {
            event.preventDefault(); // the box keeps the focus
            const { text, caret } = files.take(name);
            choose(text, caret);
          }}
        >
          <code>
            <Exact text={name} oneLine />
          </code>
        </div>
      ))}
    </div>
  );
}
