import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { HubError, type AnswerAction, type ElicitationData, type FormField } from "@sessionhub/client";
import { readForm } from "@sessionhub/client/form";
import type { Refusal } from "./answer-guard.js";
import type { Asker } from "./asker.js";
import { focusNext, noteMs, refusalTexts } from "./approval.js";
import { Exact } from "./exact.js";
import { entriesOf, FieldView, formContent, valueText } from "./form.js";
import { clockTime, errorText } from "./format.js";
import { exactLine } from "./text.js";
import { watch, type ElicitationItem, type Entry } from "./transcript.js";

/**
 * A question of the agent's to people: a form, or a page to open. Once it is answered it
 * becomes what was answered, but not while others wait: that would move them.
 */
export function Elicitation({ item, model }: { item: ElicitationItem; model: Asker }) {
  const { resolved } = watch(item);
  const { request, problem } = useWhole(item, model);
  const fields = useMemo(() => readForm(request.requestedSchema), [request]);
  const wasOpen = useRef(false);
  const othersWait = model.waiting.value > 0;
  if (!resolved) wasOpen.current = true;
  else if (!othersWait) wasOpen.current = false;
  return wasOpen.current ? (
    <Card key={request === item.request ? "log" : "whole"} {...{ item, request, problem, fields, model }} />
  ) : (
    <Answered item={item} fields={fields} />
  );
}

/** What is asked: of a private question the whole, which is read once it is shown, and in no log. */
function useWhole(item: ElicitationItem, model: Asker): { request: ElicitationData; problem: string } {
  const { request, resolved } = watch(item);
  const [whole, setWhole] = useState<ElicitationData>();
  const [problem, setProblem] = useState("");
  const wanted = request.private === true && !resolved && !model.readOnly;
  useEffect(() => {
    if (!wanted) return;
    let over = false;
    model.elicitation(request.interactionId).then(
      (read) => !over && setWhole(read),
      (error) => !over && setProblem(errorText(error)),
    );
    return () => {
      over = true;
    };
  }, [wanted, request.interactionId]);
  return { request: whole ?? request, problem };
}

interface ViewProps {
  item: ElicitationItem;
  fields: FormField[];
}

interface CardProps extends ViewProps {
  request: ElicitationData;
  problem: string;
  model: Asker;
}

/** What was asked and answered, to be read. */
function Answered({ item, fields }: ViewProps) {
  const { request, resolved } = item;
  const content = resolved!.outcome === "accepted" ? (resolved!.content ?? {}) : undefined;
  return (
    <div
      class="elicitation-line"
      data-testid="elicitation"
      data-interaction-id={request.interactionId}
      data-state={resolved!.outcome}
    >
      <p class="approval-line" data-good={resolved!.outcome === "accepted"}>
        <span class="outcome">{outcomeText(item)}</span>{" "}
        <span>
          <Exact text={request.message} oneLine />
        </span>
        {resolved!.by && resolved!.by !== "agent" && <span class="muted"> · by {exactLine(resolved!.by)}</span>}
      </p>
      {request.url && (
        <p class="elicitation-url">
          <Exact text={request.url} oneLine />
        </p>
      )}
      {content && fields.length > 0 && (
        <dl class="answers-given">
          {fields.map((field) => (
            <div key={field.name}>
              <dt>
                <Exact text={field.title} oneLine />
                {/[?:!.]$/.test(field.title) ? "" : ":"}
              </dt>
              <dd>
                {Object.hasOwn(content, field.name) ? (
                  <Exact text={valueText(field, content[field.name]!)} />
                ) : (
                  <span class="muted">No answer</span>
                )}
              </dd>
            </div>
          ))}
        </dl>
      )}
    </div>
  );
}

function Card({ item, request, problem, fields, model }: CardProps) {
  const { resolved, draft } = watch(item);
  const { answering } = model;
  const name = model.nameOf(request.interactionId);
  const [entries, setEntries] = useState(() => entriesOf(fields, draft));
  const [problems, setProblems] = useState<Record<string, string>>({});
  const [sent, setSent] = useState<AnswerAction>();
  const [note, setNote] = useState("");
  const card = useRef<HTMLElement>(null);
  const head = useRef<HTMLDivElement>(null);
  const answers = useRef<HTMLDivElement>(null);
  const asked = !resolved && !model.over.value;
  const unread = request.private === true && request === item.request; // nobody answers what was not read
  const open = asked && !model.readOnly && sent === undefined && !unread;
  const page = request.mode === "url";

  const enter = (field: FormField, entry: Entry) => {
    draft.set(field.name, entry);
    setEntries((now) => ({ ...now, [field.name]: entry }));
    setProblems(({ [field.name]: _, ...rest }) => rest);
  };
  const complain = (wrong: Record<string, string>, said: string) => {
    setProblems(wrong);
    setNote(said);
    const first = fields.findIndex(({ name }) => Object.hasOwn(wrong, name));
    card.current?.querySelector<HTMLElement>(`[data-field="${first}"] :is(input, select, textarea)`)?.focus();
  };
  const answer = async (action: AnswerAction) => {
    const form = action === "accept" && !page ? formContent(fields, entries) : undefined;
    if (form && Object.keys(form.problems).length > 0) return complain(form.problems, "Not sent: see below.");
    // Only now, by this act, and before anything is awaited: a browser opens a page for a click only.
    if (action === "accept" && page) openPage(request.url!);
    setSent(action);
    setNote("");
    setProblems({});
    try {
      await model.answer(request.interactionId, action, form?.content);
    } catch (error) {
      setSent(undefined);
      const field = error instanceof HubError && error.code === "invalid_answer" ? error.fields["field"] : undefined;
      if (typeof field === "string") complain({ [field]: wrongText(error as HubError) }, "Not taken: see below.");
      else setNote(errorText(error));
    }
  };
  // The guard keeps the question that it was given; what is entered changes all the time.
  const act = useRef(answer);
  act.current = answer;

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
      keyless: true,
      card: card.current!,
      head: head.current!,
      answers: answers.current!,
      answer: (action) => void act.current(action as AnswerAction),
      refuse,
    });
    return () => {
      unfollow();
      clearTimeout(timer);
    };
  }, [asked, answering, request]);
  useLayoutEffect(() => {
    if (resolved && card.current!.contains(document.activeElement)) focusNext(card.current!);
  }, [resolved]);

  const label = resolved ? outcomeText(item) : page ? "Asks you to open a page" : "The agent asks";
  const button = (action: AnswerAction, text: string, kind: string) => (
    <button
      type="button"
      class={`button ${kind}`}
      disabled={!open}
      aria-disabled="true" // until the guard says otherwise
      aria-busy={sent === action}
      onClick={(event) => answering.click(event, name, event.currentTarget)}
      data-testid={resolved ? undefined : "elicitation-answer"}
      data-option-id={action}
    >
      {text}
    </button>
  );
  return (
    <section
      class="approval elicitation"
      ref={card}
      tabIndex={-1}
      aria-label={`${label}: ${exactLine(request.message)}`}
      data-testid="elicitation"
      data-interaction-id={request.interactionId}
      data-state={resolved?.outcome ?? "pending"}
      data-good={resolved?.outcome === "accepted"}
    >
      <div class="approval-head" ref={head} tabIndex={0} role="group" aria-label="What is asked">
        <header>
          <span class="approval-flag">{label}</span>
          <span
            class={`approval-note ${note || (asked && problem) ? "problem" : "muted"}`}
            role="status"
            title={note || undefined}
          >
            {note || (asked && problem) || (resolved ? byText(item) : `until ${clockTime(request.expiresAt)}`)}
          </span>
        </header>
        <p class="elicitation-message">
          <Exact text={request.message} />
        </p>
      </div>
      <div class="approval-body form-fields" role="group" aria-label={page ? "The page" : "Your answers"}>
        {page && (
          <p class="elicitation-host" data-testid="elicitation-host">
            It opens a page of <strong>{hostOf(request.url)}</strong>
          </p>
        )}
        {page && (
          // Shown whole, and no link: it opens by the button alone, which the guard judges.
          <p class="elicitation-url" data-testid="elicitation-url">
            <Exact text={request.url ?? ""} oneLine />
          </p>
        )}
        {request.requestedSchema?.description && (
          <p class="muted">
            <Exact text={request.requestedSchema.description} />
          </p>
        )}
        {fields.map((field, index) => (
          <FieldView
            key={field.name}
            id={`${item.key}-${index}`}
            index={index}
            field={field}
            entry={entries[field.name] ?? ""}
            disabled={!open}
            problem={problems[field.name]}
            onEntry={(entry) => enter(field, entry)}
          />
        ))}
        {!page && fields.length === 0 && !unread && <p class="muted">There is nothing to fill in.</p>}
      </div>
      <div class="approval-answers" ref={answers}>
        <div class="actions" role="group" aria-label="Answers">
          {button("accept", page ? "Open the page" : "Send answer", "primary")}
          {button("decline", "Decline", "danger")}
          {button("cancel", "Close without an answer", "")}
        </div>
      </div>
    </section>
  );
}

/** Opens a page of a stranger's in a tab of its own, which learns nothing of this one. */
function openPage(url: string): void {
  const link = document.createElement("a");
  link.href = url;
  if (link.protocol !== "https:" && link.protocol !== "http:") return;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  link.click();
}

/** Whose page it is: what stands before an @, or at the front of a name, is not. Other scripts come as Punycode. */
function hostOf(url = ""): string {
  return URL.canParse(url) ? new URL(url).host : "?";
}

/** What the hub says of a field: the field's name stands beside it already. */
function wrongText(error: HubError): string {
  const said = error.message.replace(/^field "(?:[^"\\]|\\.)*": /, "");
  return `${exactLine(said.charAt(0).toUpperCase() + said.slice(1))}.`;
}

function byText({ resolved }: ElicitationItem): string {
  return resolved?.by && resolved.by !== "agent" ? `by ${exactLine(resolved.by)}` : "";
}

function outcomeText({ request, resolved }: ElicitationItem): string {
  switch (resolved?.outcome) {
    case "accepted":
      if (request.mode === "form") return "Answered";
      return resolved.by === "agent" ? "Completed" : "Page opened";
    case "declined":
      return "Declined";
    case "expired":
      return "Expired without an answer";
    default:
      return resolved?.by ? "Closed without an answer" : "Cancelled";
  }
}
