import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { Approval } from "./approval.js";
import { Attachments } from "./attachments-view.js";
import { attachmentsOf } from "./attachments.js";
import { Elicitation } from "./elicitation.js";
import { showEverything } from "./everything.js";
import { asText, clockTime } from "./format.js";
import { MarkdownView } from "./markdown.js";
import type { SessionModel } from "./session-model.js";
import { Block, isSomething, ToolContents, Value } from "./tool-content.js";
import { line, prose } from "./text.js";
import { turnUsageText } from "./told.js";
import { watch } from "./transcript.js";
import type { CompleteItem, GapItem, Item, OutputItem, PlanItem, ToolItem, UpdatesItem } from "./transcript.js";

/** One item of the transcript. The search finds it by its key. */
export function ItemView({ item, model }: { item: Item; model: SessionModel }) {
  return (
    <div
      class={`item item-${item.kind}`}
      data-item={item.key}
      data-background={item.background}
      hidden={item.kind === "updates" && !showEverything.value}
    >
      {item.background === "first" && (
        <p class="background-label" data-testid="background-label">
          In the background
        </p>
      )}
      <Inner item={item} model={model} />
    </div>
  );
}

function Inner({ item, model }: { item: Item; model: SessionModel }) {
  watch(item);
  switch (item.kind) {
    case "message":
      return (
        <div class="user-message" data-testid="user-message" data-message-id={item.messageId}>
          <span class="unseen">You: </span>
          {prose(item.text)}
          <Attachments all={attachmentsOf(item.content)} model={model} />
          {(item.waits || item.edited) && (
            <span class="message-state muted" data-testid="message-state">
              {[item.waits && waitTexts[item.waits], item.edited && "edited"].filter(Boolean).join(", ")}
            </span>
          )}
        </div>
      );
    case "answer":
      return (
        <div class="answer" data-testid="answer" data-message-id={item.messageId}>
          <Markdown item={item} />
        </div>
      );
    case "thought":
      return (
        <Fold item={item} class="thought" summary={item.done ? "Thought" : "Thinking…"} testId="thought">
          {() => <Markdown item={item} />}
        </Fold>
      );
    case "tool":
      return <Tool item={item} />;
    case "plan":
      return <Plan item={item} />;
    case "approval":
      return <Approval item={item} model={model} />;
    case "elicitation":
      return <Elicitation item={item} model={model} />;
    case "complete":
      return <Complete item={item} model={model} />;
    case "note":
      return (
        <p class="note" data-bad={item.bad} data-testid="note">
          {prose(item.text)}
        </p>
      );
    case "gap":
      return <Gap item={item} />;
    case "updates":
      return showEverything.value ? <Updates item={item} /> : null;
  }
}

const waitTexts = {
  queued: "queued",
  held: "held",
  steering: "on its way to the agent",
  taken: "taken in by the running turn",
};

/** What is unfolded stays so when it was out of sight, where it is not drawn. */
const unfolded = new WeakSet<Item>();

/** A fold whose inside is made only once it is open. */
function Fold(props: {
  item: Item;
  class: string;
  summary: ComponentChildren;
  testId: string;
  data?: Record<string, string>;
  children: () => ComponentChildren;
}) {
  const { item } = props;
  const [open, setOpen] = useState(unfolded.has(item));
  const toggle = (now: boolean) => {
    setOpen(now);
    if (now) unfolded.add(item);
    else unfolded.delete(item);
  };
  return (
    <details
      class={`fold ${props.class}`}
      data-testid={props.testId}
      {...props.data}
      open={open}
      onToggle={(event) => toggle(event.currentTarget.open)}
    >
      <summary>{props.summary}</summary>
      {open && <div class="fold-body">{props.children()}</div>}
    </details>
  );
}

const minParseMs = 100;
const longText = 20_000;

/**
 * Shows a text that may grow. It is parsed ten times a second at most, and less
 * often where that is slow: no more than about a tenth of the time goes into it,
 * however long the text becomes. Once the text is whole it is parsed at once.
 */
function Markdown({ item }: { item: OutputItem }) {
  const root = useRef<HTMLDivElement>(null);
  const state = useRef<{ view?: MarkdownView; timer?: ReturnType<typeof setTimeout>; notBefore: number }>({
    notBefore: 0,
  });
  const version = watch(item).version.value;

  useLayoutEffect(() => {
    const own = state.current;
    const parse = () => {
      clearTimeout(own.timer);
      delete own.timer;
      own.view ??= new MarkdownView(root.current!);
      const begin = performance.now();
      own.view.update(prose(item.text));
      // A long text is laid out now, so that the time for that counts, too.
      if (item.text.length > longText) void root.current!.offsetHeight;
      const end = performance.now();
      own.notBefore = end + Math.max(minParseMs, 10 * (end - begin));
    };
    const wait = own.notBefore - performance.now();
    if (item.done || wait <= 0) parse();
    else own.timer ??= setTimeout(parse, wait);
  }, [version, item]);
  useEffect(() => () => clearTimeout(state.current.timer), []);

  return <div class="markdown" ref={root} />;
}

const toolStates: Record<string, string> = {
  pending: "pending",
  in_progress: "running",
  completed: "done",
  failed: "failed",
};

function Tool({ item }: { item: ToolItem }) {
  const { call, abandoned } = watch(item);
  const status = abandoned ? "stopped" : (call.status ?? "pending");
  const location = call.locations?.[0];
  const summary = (
    <>
      <span class="kind">{line(call.kind || "tool")}</span>
      <span class="tool-title">{line(call.title || call.toolCallId)}</span>
      <span class="tool-status" data-status={status}>
        {toolStates[status] ?? line(status)}
      </span>
    </>
  );
  return (
    <Fold
      item={item}
      class="tool"
      summary={summary}
      testId="tool-call"
      data={{ "data-status": status, "data-tool-call-id": call.toolCallId }}
    >
      {() => (
        <>
          {location && (
            <p class="muted">
              <code>{line(location.line ? `${location.path}:${location.line}` : location.path)}</code>
            </p>
          )}
          {isSomething(call.input) && (
            <Part name="Input">
              <Value value={call.input} />
            </Part>
          )}
          {call.content && call.content.length > 0 && <ToolContents contents={call.content} pictures />}
          {isSomething(call.output) && (
            <Part name="Output">
              <Value value={call.output} />
            </Part>
          )}
        </>
      )}
    </Fold>
  );
}

function Part({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="part">
      <h3>{name}</h3>
      {children}
    </div>
  );
}

const planMarks: Record<string, string> = { completed: "✓", in_progress: "▸", pending: "○" };

function Plan({ item }: { item: PlanItem }) {
  const done = watch(item).entries.filter((entry) => entry.status === "completed").length;
  return (
    <section class="plan" aria-label="Plan" data-testid="plan">
      <header>
        Plan <span class="muted">{`${done} of ${item.entries.length}`}</span>
      </header>
      <ol>
        {item.entries.map((entry, index) => (
          <li key={index} data-status={entry.status}>
            <span class="plan-mark" aria-hidden="true">
              {planMarks[entry.status ?? "pending"] ?? "○"}
            </span>
            <span>
              {prose(entry.content)}
              <span class="unseen"> ({(entry.status ?? "pending").replace("_", " ")})</span>
            </span>
            {entry.priority === "high" && <span class="muted">high</span>}
          </li>
        ))}
      </ol>
    </section>
  );
}

const stopTexts: Record<string, string> = {
  cancelled: "Stopped.",
  refusal: "The agent refused to go on.",
  max_tokens: "The answer reached the model's limit of tokens.",
  max_turn_requests: "The turn reached the agent's limit of steps.",
};

/** What the turn took, if the agent has told. */
function TurnUsage({ item }: { item: CompleteItem }) {
  const text = turnUsageText(item.data.usage, item.data.cost);
  return text ? (
    <span class="muted" data-testid="turn-usage">
      {" "}
      · {line(text)}
    </span>
  ) : null;
}

function Complete({ item, model }: { item: CompleteItem; model: SessionModel }) {
  const [sent, setSent] = useState(false);
  const { stopReason, error } = item.data;
  if (stopReason === "end_turn") {
    return (
      <p class="turn-end" data-testid="complete" data-stop-reason={stopReason}>
        {clockTime(item.time)}
        <TurnUsage item={item} />
      </p>
    );
  }
  if (stopReason !== "error") {
    return (
      <p class="note" data-testid="complete" data-stop-reason={stopReason}>
        {stopTexts[stopReason] ?? line(stopReason)}
        <TurnUsage item={item} />
      </p>
    );
  }
  const again =
    error?.retryable && !model.readOnly && !model.over.value && model.transcript.value.message(item.data.messageId);
  return (
    <div class="error-card" role="group" aria-label="Error" data-testid="complete" data-stop-reason={stopReason}>
      <strong>{prose(error?.message || "The turn failed.")}</strong>
      <span class="muted">
        {error?.code && <code>{line(error.code)}</code>}
        {error?.retryable && " The message can be sent again."}
        <TurnUsage item={item} />
      </span>
      {again && (
        <button
          type="button"
          class="button"
          disabled={sent}
          onClick={() => {
            setSent(true);
            model.resend(item.data.messageId);
          }}
          data-testid="send-again"
        >
          {sent ? "Sent again" : "Send again"}
        </button>
      )}
    </div>
  );
}

function Gap({ item }: { item: GapItem }) {
  const { fromSeq, toSeq, reason } = item.gap;
  const count = Math.max(0, toSeq - fromSeq + 1);
  const events = count === 1 ? `Event ${fromSeq}` : `Events ${fromSeq} to ${toSeq}`;
  return (
    <p class="gap" data-testid="gap" data-reason={reason} data-from={fromSeq} data-to={toSeq}>
      {reason === "trimmed"
        ? `${events} are not kept any more.`
        : `${events} were lost when the hub's store failed. The session goes on from here.`}
    </p>
  );
}

function Updates({ item }: { item: UpdatesItem }) {
  const { updates } = watch(item);
  const summary = (
    <>
      <span class="kind">for programs</span>
      <span class="tool-title">
        {updates
          .map((update) => line(update.kind))
          .filter(isFirst)
          .join(", ") || "agent update"}
      </span>
    </>
  );
  return (
    <Fold item={item} class="updates" summary={summary} testId="agent-update">
      {() => updates.map((update, index) => <Block key={index} text={asText(update.raw)} />)}
    </Fold>
  );
}

function isFirst<T>(value: T, index: number, all: T[]): boolean {
  return all.indexOf(value) === index;
}
