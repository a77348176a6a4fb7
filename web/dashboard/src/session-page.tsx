import { useEffect, useState } from "preact/hooks";
import { useSignalEffect } from "@preact/signals";
import { isTyping } from "./answer-guard.js";
import { Attachments } from "./attachments-view.js";
import { attachmentsOf } from "./attachments.js";
import { Composer } from "./composer.js";
import { sizeText, statusLabels } from "./format.js";
import { keepSharedToken } from "./hub.js";
import { startLike } from "./new-session.js";
import { QueueList } from "./queue-list.js";
import { hideToken } from "./route.js";
import { SearchBar } from "./search-bar.js";
import { SessionHeader } from "./session-header.js";
import { useSeen } from "./seen.js";
import { SessionModel } from "./session-model.js";
import { exactLine, line } from "./text.js";
import { askedText } from "./transcript.js";
import { TranscriptView } from "./transcript-view.js";

/** One session. The caller gives it a key by the session's id, so that another session is another page. */
export function SessionPage({ sessionId, readOnly = false }: { sessionId: string; readOnly?: boolean }) {
  const [model, setModel] = useState<SessionModel>();
  useEffect(() => {
    const opened = new SessionModel(sessionId, { readOnly });
    setModel(opened);
    return () => opened.dispose();
  }, [sessionId, readOnly]);
  return model ? <OpenSession model={model} /> : null;
}

/** A session by a read-only link. Its token leaves the address bar at once, and stays in this tab. */
export function SharedPage({ sessionId, token }: { sessionId: string; token: string | undefined }) {
  useState(() => {
    if (token === undefined) return;
    keepSharedToken(sessionId, token);
    hideToken(sessionId);
  });
  return <SessionPage sessionId={sessionId} readOnly />;
}

function OpenSession({ model }: { model: SessionModel }) {
  useSeen(model);
  const problem = model.problem.value;
  const [searching, setSearching] = useState(false);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const wanted = event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target);
      if (!wanted || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      setSearching(true);
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  if (problem) {
    return (
      <div class="empty">
        <p role="alert">{problem}</p>
        <div class="actions">
          <button type="button" class="button" onClick={() => model.restart()}>
            Try again
          </button>
          {!model.readOnly && (
            <a class="button" href="#/">
              All sessions
            </a>
          )}
        </div>
      </div>
    );
  }
  return (
    <div class="session">
      <SessionHeader model={model} onSearch={() => setSearching(true)} />
      <div class="session-body">
        {searching && <SearchBar model={model} onClose={() => setSearching(false)} />}
        <TranscriptView model={model} foot={<PendingNotice model={model} />}>
          <Outbox model={model} />
          <Activity model={model} />
        </TranscriptView>
      </div>
      <Lost model={model} />
      {model.readOnly ? (
        <p class="read-only muted" data-testid="read-only">
          You are watching by a read-only link.
        </p>
      ) : (
        <Composer model={model} />
      )}
      <QueueList model={model} />
      <Announcer model={model} />
    </div>
  );
}

/** Says why nothing can be done here any more, and offers what can be done instead. */
function Lost({ model }: { model: SessionModel }) {
  const state = model.connection.value;
  if (state.phase !== "closed" || state.reason === "closed") return null;
  const session = model.session.value;
  const another = !model.readOnly && (
    // biome-ignore lint/a11y/useValidAnchor: it leads to a page; the click only fills in that page's form
    <a class="button primary" href="#/new" onClick={() => session && startLike(session)} data-testid="start-another">
      Start another like it
    </a>
  );
  return (
    <div class="lost" role="alert" data-testid="lost" data-reason={state.reason}>
      <p>{lostTexts[state.reason]}</p>
      <div class="actions">
        {state.reason !== "unauthorized" && another}
        {state.reason === "unauthorized" && (
          <button type="button" class="button" onClick={() => model.restart()}>
            Try again
          </button>
        )}
      </div>
    </div>
  );
}

const lostTexts = {
  not_found:
    "The hub does not have this session any more. It was deleted, or the hub was started again without a --data-dir. What you read here stays until you leave the page.",
  session_ended: "This session has ended.",
  unauthorized: "This page is not allowed in any more: its key or its link was withdrawn, or has expired.",
};

/** What was sent and is not in the log yet. */
function Outbox({ model }: { model: SessionModel }) {
  return (
    <>
      {model.outgoing.value.map((outgoing) => (
        <div
          key={outgoing.messageId}
          class="outgoing"
          data-testid="outgoing"
          data-failed={outgoing.error !== undefined}
        >
          <div class="user-message">
            {outgoing.text}
            <Attachments all={attachmentsOf(outgoing.content)} model={model} />
            {(outgoing.files ?? []).map((file) => (
              <p key={file.name} class="muted">
                {line(file.name)} {sizeText(file.size)}
              </p>
            ))}
          </div>
          {outgoing.error === undefined ? (
            <span class="muted">Sending…</span>
          ) : (
            <span class="problem" role="alert">
              {outgoing.error}{" "}
              {model.over.value ? (
                <button type="button" class="quiet" onClick={() => void navigator.clipboard.writeText(outgoing.text)}>
                  Copy
                </button>
              ) : (
                <button type="button" class="quiet" onClick={() => model.sendAgain(outgoing)} data-testid="send-again">
                  Send again
                </button>
              )}
              <button type="button" class="quiet" onClick={() => model.discard(outgoing.messageId)}>
                Discard
              </button>
            </span>
          )}
        </div>
      ))}
    </>
  );
}

const activityTexts: Record<string, string> = {
  queued: "Waiting for a worker",
  starting: "Starting the agent",
  running: "Working",
  requires_action: "Waiting for your answer",
};

function Activity({ model }: { model: SessionModel }) {
  const transcript = model.transcript.value;
  const status = transcript.status.value;
  const background = status === "running" && transcript.inBackground.value;
  // What a session that is gone did last, it does not do now.
  const text = model.over.value ? undefined : background ? "Working in the background" : activityTexts[status ?? ""];
  if (!text) {
    return transcript.length.value === 0 && model.connection.value.phase === "live" ? (
      <p class="muted hint">Nothing was said yet. The agent starts with the first message.</p>
    ) : null;
  }
  return (
    <p class="activity" data-status={status} data-background={background}>
      <span class="dot" aria-hidden="true" /> {model.readOnly ? text.replace("your", "an") : text}
    </p>
  );
}

const noticeMs = 100;

/** Shown while an approval waits out of sight: it must not be overlooked. Its room is kept, so that it moves no other. */
function PendingNotice({ model }: { model: SessionModel }) {
  const pending = model.transcript.value.pending.value;
  const inView = model.answering.inView.value;
  const unseen = pending.filter(({ request }) => !inView.includes(request.interactionId));
  const wanted = unseen.length > 0 && !model.over.value;
  // One that has only just come is not drawn yet, and then seen.
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (!wanted) return setLate(false);
    const timer = setTimeout(() => setLate(true), noticeMs);
    return () => clearTimeout(timer);
  }, [wanted]);

  if (!wanted || !late) return null;
  const show = () => {
    // It may be far up, where nothing is drawn.
    model.revealed.value = model.transcript.peek().items.indexOf(unseen[0]!);
    const id = unseen[0]!.request.interactionId;
    requestAnimationFrame(() => {
      const card = document.querySelector(`.approval[data-interaction-id="${CSS.escape(id)}"]`);
      card?.scrollIntoView({ block: "center" });
      card
        ?.querySelector<HTMLElement>(".form-fields :is(input, select, textarea), button[data-option-id]:not(:disabled)")
        ?.focus({ preventScroll: true });
    });
  };
  const others = unseen.length < pending.length ? " more" : "";
  const approvals = unseen.every(({ kind }) => kind === "approval");
  const what = approvals ? "approval" : "question";
  return (
    <div class="pending-notice" data-testid="pending-notice">
      <span>
        {model.readOnly
          ? `The agent waits for an ${approvals ? "approval" : "answer"}.`
          : unseen.length === 1 && !others
            ? `The agent waits for your ${approvals ? "approval" : "answer"}.`
            : `${unseen.length}${others} ${unseen.length === 1 ? `${what} waits` : `${what}s wait`} for you.`}
      </span>
      <button type="button" class="quiet" onClick={show}>
        Show
      </button>
    </div>
  );
}

/** Says to a screen reader what changes, but not each word of a stream. */
function Announcer({ model }: { model: SessionModel }) {
  const [text, setText] = useState("");
  useSignalEffect(() => {
    const transcript = model.transcript.value;
    const pending = transcript.pending.value.at(-1);
    const status = transcript.status.value;
    const state = model.connection.value;
    if (state.phase === "offline") setText("Connection lost");
    else if (state.phase === "closed" && state.reason !== "closed") setText(lostTexts[state.reason]);
    else if (pending)
      setText(
        `${pending.kind === "approval" ? "Approval needed" : "The agent asks"}: ${exactLine(askedText(pending))}`,
      );
    else if (status === "running" && transcript.inBackground.value) setText("Working in the background");
    else if (status) setText(statusLabels[status]);
  });
  return (
    <div class="unseen" role="status" aria-live="polite">
      {text}
    </div>
  );
}
