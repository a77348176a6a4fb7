import { Fragment } from "preact";
import { useCallback, useMemo } from "preact/hooks";
import type { ToolContent } from "@sessionhub/client";
import { isPicture } from "./attachments.js";
import { diffLines, hunkLines, type DiffLine } from "./diff.js";
import { Exact, ToolText } from "./exact.js";
import { asText } from "./format.js";
import { LongLines, toDrawnLines } from "./long-lines.js";
import { exactLine } from "./text.js";

/** What a tool shows: changes of files, text, and in raw form whatever else there is. Pictures are drawn if nobody has to judge them. */
export function ToolContents({ contents, pictures }: { contents: readonly ToolContent[]; pictures?: boolean }) {
  return (
    <>
      {contents.map((content, index) => (
        <Fragment key={index}>
          {content.type === "diff" && typeof content.path === "string" ? (
            <Diff path={content.path} lines={changedLines(content)} />
          ) : pictures && pictureOf(content) ? (
            <img class="tool-picture" src={pictureOf(content)} alt="Shown by the agent" data-testid="tool-picture" />
          ) : (
            <Block text={contentText(content) ?? asText(content)} />
          )}
          {content.truncated && <p class="muted">This is only a part of it.</p>}
        </Fragment>
      ))}
    </>
  );
}

/** The URL of a picture that the agent has sent. */
function pictureOf(content: ToolContent): string | undefined {
  const inner = (content.content ?? content) as { type?: unknown; mimeType?: unknown; data?: unknown };
  if (typeof inner !== "object" || inner?.type !== "image" || typeof inner.data !== "string") return undefined;
  return typeof inner.mimeType === "string" && isPicture(inner.mimeType, inner.data.length)
    ? `data:${inner.mimeType};base64,${inner.data}`
    : undefined;
}

function contentText(content: ToolContent): string | undefined {
  const inner = (content.content ?? content) as { type?: unknown; text?: unknown };
  return typeof inner === "object" && inner !== null && typeof inner.text === "string" ? inner.text : undefined;
}

const marks = { same: " ", added: "+", removed: "−", skip: "⋯" };

/** Made once for each change, which an event holds for ever as it is. */
const changes = new WeakMap<ToolContent, DiffLine[]>();

function changedLines(content: ToolContent): DiffLine[] {
  let lines = changes.get(content);
  if (!lines) {
    lines = content.hunks ? hunkLines(content.hunks) : diffLines(content.oldText ?? "", content.newText ?? "");
    changes.set(content, lines);
  }
  return lines;
}

/** A change of a file. Lines have their numbers where they are known: an agent may give only a piece of a file. */
export function Diff({ path, lines }: { path: string; lines: readonly DiffLine[] }) {
  const added = lines.filter((line) => line.kind === "added").length;
  const removed = lines.filter((line) => line.kind === "removed").length;
  const numbered = lines.some((line) => line.number !== undefined);
  const draw = useCallback(
    (index: number) => {
      const { kind, text, number } = lines[index]!;
      return (
        <div key={index} class="diff-line" data-kind={kind}>
          {numbered && <span class="diff-number">{number}</span>}
          <span class="diff-mark">{marks[kind]}</span>
          <span class="diff-text">
            <Exact text={text} />
          </span>
        </div>
      );
    },
    [lines, numbered],
  );
  return (
    <figure class="diff" data-numbered={numbered}>
      <figcaption>
        <code class="diff-path">
          <Exact text={path} oneLine />
        </code>
        <span class="diff-count">
          <span class="plus">+{added}</span> <span class="minus">−{removed}</span>
        </span>
      </figcaption>
      <div class="diff-lines" tabIndex={0} role="group" aria-label={`Changes of ${exactLine(path)}`}>
        <LongLines count={lines.length} class="diff-group" line={draw} />
      </div>
    </figure>
  );
}

/** A text of this size is drawn as it is; a longer one as the view comes near. Characters. */
const longText = 20_000;

export function Block({ text }: { text: string }) {
  const lines = useMemo(() => (text.length > longText ? toDrawnLines(text) : undefined), [text]);
  const draw = useCallback((index: number) => <ToolText key={index} text={`${lines![index]}\n`} />, [lines]);
  return (
    <pre class="block" tabIndex={0}>
      {lines ? <LongLines count={lines.length} class="block-group" line={draw} /> : <ToolText text={text} />}
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
            <dt>
              <ToolText text={name} />
            </dt>
            <dd>
              {text.includes("\n") || text.length > 120 ? (
                <Block text={text} />
              ) : (
                <code>
                  <ToolText text={text} />
                </code>
              )}
            </dd>
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
