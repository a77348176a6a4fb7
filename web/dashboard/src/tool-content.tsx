import { useMemo } from "preact/hooks";
import type { ToolContent } from "@sessionhub/client";
import { diffLines } from "./diff.js";
import { asText } from "./format.js";

/** What a tool shows: changes of files, text, and in raw form whatever else there is. */
export function ToolContents({ contents }: { contents: readonly ToolContent[] }) {
  return (
    <>
      {contents.map((content, index) => {
        if (content.type === "diff" && typeof content.path === "string") {
          return <Diff key={index} path={content.path} oldText={content.oldText ?? ""} newText={content.newText ?? ""} />;
        }
        const text = contentText(content);
        return <Block key={index} text={text ?? asText(content)} />;
      })}
    </>
  );
}

function contentText(content: ToolContent): string | undefined {
  const inner = (content.content ?? content) as { type?: unknown; text?: unknown };
  return typeof inner === "object" && inner !== null && typeof inner.text === "string" ? inner.text : undefined;
}

const marks = { same: " ", added: "+", removed: "−", skip: "⋯" };

export function Diff({ path, oldText, newText }: { path: string; oldText: string; newText: string }) {
  const lines = useMemo(() => diffLines(oldText, newText), [oldText, newText]);
  const added = lines.filter((line) => line.kind === "added").length;
  const removed = lines.filter((line) => line.kind === "removed").length;
  return (
    <figure class="diff">
      <figcaption>
        <code class="diff-path">{path}</code>
        <span class="diff-count">
          <span class="plus">+{added}</span> <span class="minus">−{removed}</span>
        </span>
      </figcaption>
      <div class="diff-lines" tabIndex={0} role="group" aria-label={`Changes of ${path}`}>
        {lines.map((line, index) => (
          <div key={index} class="diff-line" data-kind={line.kind}>
            <span class="diff-mark">{marks[line.kind]}</span>
            <span class="diff-text">{line.text}</span>
          </div>
        ))}
      </div>
    </figure>
  );
}

export function Block({ text }: { text: string }) {
  return (
    <pre class="block" tabIndex={0}>
      {text}
    </pre>
  );
}

/** A tool's input or output: an object's fields by name, anything else as it is. */
export function Value({ value }: { value: unknown }) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return <Block text={asText(value)} />;
  const fields = Object.entries(value).sort(([a], [b]) => Number(isBookkeeping(a)) - Number(isBookkeeping(b)));
  if (fields.length === 0) return <p class="muted">Nothing.</p>;
  return (
    <dl class="fields">
      {fields.map(([name, field]) => {
        const text = asText(field);
        return (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{text.includes("\n") || text.length > 120 ? <Block text={text} /> : <code>{text}</code>}</dd>
          </div>
        );
      })}
    </dl>
  );
}

/** An agent's own numbers (codex-acp: call_id, turn_id, started_at_ms). They come last: who has to judge a command looks for the command. */
function isBookkeeping(name: string): boolean {
  return /_(id|ms)$|Id$/.test(name);
}

/** Whether there is anything to show: a missing value and an empty object are nothing. */
export function isSomething(value: unknown): boolean {
  if (value === undefined || value === null || value === "") return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}
