import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { HubError, type ApprovalOption } from "@sessionhub/client";
import type { Refusal } from "./answer-guard.js";
import type { Asker } from "./asker.js";
import { Deciding, Exact } from "./exact.js";
import { clockTime, errorText } from "./format.js";
import { isSomething, ToolContents, Value } from "./tool-content.js";
import { exactLine } from "./text.js";
import { watch, type ApprovalItem } from "./transcript.js";
import { isWithheld, useWholeContent, WholeContent } from "./whole-content.js";

export const refusalTexts: Record<Refusal, string> = {
  unread: "Not taken: this has only just come into view. Answer again.",
  moved: "Not taken: this has just moved. Answer again.",
  just_answered: "Not taken: you have just answered another. Answer again.",
  repeated: "Not taken: the key is held down. Press it again.",
};
/** How long the note of a refused act stays. Milliseconds. */
export const noteMs = 4_000;

/**
 * A question of the agent's, with the agent's own answers. Once it is answered it
 * becomes a line with the outcome, but not while others wait: that would move them.
 */
export function Approval({ item, model }: { item: ApprovalItem; model: Asker }) {
  const { resolved } = watch(item);
  const wasOpen = useRef(false);
  const othersWait = model.waiting.value > 0;
  if (!resolved) wasOpen.current = true;
  else if (!othersWait) wasOpen.current = false;
  return wasOpen.current ? <Card item={item} model={model} /> : <OutcomeLine item={item} />;
}

function OutcomeLine({ item }: { item: ApprovalItem }) {
  const { request, resolved } = item;
  return (
    <p
      class="approval-line"
      data-testid="approval"
      data-interaction-id={request.interactionId}
      data-state={resolved!.outcome}
      data-good={resolved!.kind?.startsWith("allow") ?? false}
    >
      <span class="outcome">{outcomeText(item)}</span>{" "}
      <span>
        <Exact text={titleOf(item)} oneLine />
      </span>
      {resolved!.by && <span class="muted"> · {byText(item)}</span>}
    </p>
  );
}

/** Its height does not change when it is answered, nor by what it has to say meanwhile. */
function Card({ item, model }: { item: ApprovalItem; model: Asker }) {
  const { request, resolved } = watch(item);
  const { answering } = model;
  const name = model.nameOf(request.interactionId);
  const [sent, setSent] = useState<string>();
  const [note, setNote] = useState("");
  const reason = useRef<HTMLInputElement>(null);
  const whole = useWholeContent(model, request);
  const card = useRef<HTMLElement>(null);
  const head = useRef<HTMLDivElement>(null);
  const answers = useRef<HTMLDivElement>(null);
  const asked = !resolved && !model.over.value;
  const open = asked && !model.readOnly;

  const answer = async (optionId: string) => {
    setSent(optionId);
    setNote("");
    try {
      const refuses = request.options.find((option) => option.optionId === optionId)?.kind.startsWith("reject");
      await model.approve(request.interactionId, optionId, refuses ? reason.current?.value.trim() : undefined);
    } catch (error) {
      setNote(errorText(error));
      setSent(undefined);
      if (error instanceof HubError && error.code === "content_unread") whole.forget();
    }
  };

  useEffect(() => {
    if (!asked) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const refuse = (why: Refusal) => {
      if (model.readOnly) return;
      setNote(refusalTexts[why]);
      clearTimeout(timer);
      timer = setTimeout(() => setNote((now) => (now === refusalTexts[why] ? "" : now)), noteMs);
    };
    const unfollow = answering.follow({
      id: name,
      card: card.current!,
      head: head.current!,
      answers: answers.current!,
      answer: (optionId) => void answer(optionId),
      refuse,
    });
    return () => {
      unfollow();
      clearTimeout(timer);
    };
  }, [asked, answering, request]);
  useLayoutEffect(() => {
    // The buttons take no more keys: whoever works with keys goes on at the next question.
    if (resolved && card.current!.contains(document.activeElement)) focusNext(card.current!);
  }, [resolved]);

  const shown = whole.content ?? request;
  const title = titleOf(item);
  const hasContent = (shown.content?.length ?? 0) > 0;
  const hasInput = isSomething(shown.input);
  const hasDiff = shown.content?.some((content) => content.type === "diff") ?? false;
  const hasKeys = open && answering.keysFor.value === name;
  return (
    <section
      class="approval"
      ref={card}
      tabIndex={-1}
      aria-label={`${resolved ? outcomeText(item) : "Approval needed"}: ${exactLine(title)}`}
      data-testid="approval"
      data-interaction-id={request.interactionId}
      data-state={resolved?.outcome ?? "pending"}
      data-good={resolved?.kind?.startsWith("allow") ?? false}
      data-keys={hasKeys}
    >
      <div class="approval-head" ref={head} tabIndex={0} role="group" aria-label="What is asked">
        <header>
          <span class="approval-flag">{resolved ? outcomeText(item) : "Approval needed"}</span>
          {request.kind && <span class="kind">{exactLine(request.kind)}</span>}
          <span class={`approval-note ${note ? "problem" : "muted"}`} role="status" title={note || undefined}>
            {note || (resolved ? byText(item) : `until ${clockTime(request.expiresAt)}`)}
          </span>
        </header>
        <h2>
          <Exact text={title} oneLine />
        </h2>
      </div>
      <Deciding.Provider value={true}>
        <div class="approval-body" tabIndex={0} role="group" aria-label="What it would do">
          {hasContent && <ToolContents contents={shown.content!} />}
          {hasInput &&
            (hasDiff ? (
              // The diff says it better; the input is there for who wants to be sure.
              <details class="more">
                <summary>Full input</summary>
                <Value value={shown.input} />
              </details>
            ) : (
              <Value value={shown.input} />
            ))}
          {!hasContent && !hasInput && <p class="muted">The agent gave no details but this title.</p>}
        </div>
        {!model.readOnly && request.options.some((option) => option.kind.startsWith("reject")) && (
          <input
            class="approval-reason"
            ref={reason}
            maxLength={1000}
            disabled={!open || sent !== undefined}
            placeholder="Why not? The agent hears it"
            aria-label="Reason for a refusal"
            data-testid="approval-reason"
          />
        )}
        <div class="approval-answers" ref={answers}>
          <WholeContent whole={whole} request={request} disabled={!open} />
          <div class="actions" role="group" aria-label="Answers">
            {request.options.map((option, index) => (
              <button
                key={option.optionId}
                type="button"
                class={`button ${optionClass(option.kind)}`}
                disabled={!open || sent !== undefined || isWithheld(option, whole)}
                aria-disabled="true" // until the guard says otherwise
                aria-busy={sent === option.optionId}
                onClick={(event) => answering.click(event, name, event.currentTarget)}
                data-testid={resolved ? undefined : "approval-option"}
                data-kind={option.kind}
                data-option-id={option.optionId}
                aria-keyshortcuts={hasKeys && index < 9 ? `${index + 1} Alt+${index + 1}` : undefined}
              >
                <Exact text={option.name || option.optionId} oneLine />
                {index < 9 && (
                  // biome-ignore lint/a11y/noAriaHiddenOnFocusable: no key reaches it; the button's aria-keyshortcuts say the same
                  <kbd aria-hidden="true" title={`Key ${index + 1}, or Alt+${index + 1} while you type`}>
                    {index + 1}
                  </kbd>
                )}
              </button>
            ))}
          </div>
        </div>
      </Deciding.Provider>
    </section>
  );
}

/** The next open question after this one, or the first; the transcript where none is left. */
export function focusNext(card: HTMLElement): void {
  const open = [...document.querySelectorAll<HTMLElement>('.approval[data-state="pending"]')].filter(
    (other) => other !== card,
  );
  const after = open.find((other) => card.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING);
  const next = after ?? open[0] ?? document.querySelector<HTMLElement>(".transcript, .inbox-view");
  next?.focus({ preventScroll: true });
}

function titleOf({ request }: ApprovalItem): string {
  return request.title || "The agent asks to use a tool";
}

function optionClass(kind: ApprovalOption["kind"]): string {
  if (kind === "allow_once") return "primary";
  return kind.startsWith("reject") ? "danger" : "";
}

function byText({ resolved }: ApprovalItem): string {
  if (!resolved?.by) return "";
  if (resolved.by === "limit") return exactLine(resolved.detail ?? "") || "too large to be shown";
  return resolved.by === "rule" ? "by your rule" : `by ${exactLine(resolved.by)}`;
}

function outcomeText({ request, resolved }: ApprovalItem): string {
  if (resolved?.outcome === "cancelled") return "Cancelled";
  if (resolved?.outcome === "expired") return "Expired, and so refused";
  const option = request.options.find(({ optionId }) => optionId === resolved?.optionId);
  switch (resolved?.kind ?? option?.kind) {
    case "allow_once":
      return "Allowed once";
    case "allow_always":
      return "Always allowed";
    case "reject_once":
      return "Refused";
    case "reject_always":
      return "Always refused";
    default:
      return exactLine(option?.name ?? "Answered");
  }
}
