import { useEffect, useState } from "preact/hooks";
import { useSignalEffect } from "@preact/signals";
import { Composer } from "./composer.js";
import { statusLabels } from "./format.js";
import { keepSharedToken } from "./hub.js";
import { hideToken } from "./route.js";
import { SearchBar } from "./search-bar.js";
import { SessionHeader } from "./session-header.js";
import { SessionModel } from "./session-model.js";
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
  const problem = model.problem.value;
  const [searching, setSearching] = useState(false);
  useApprovalKeys(model);
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
        <TranscriptView model={model}>
          <Outbox model={model} />
          <Activity model={model} />
        </TranscriptView>
        <PendingNotice model={model} />
      </div>
      {model.readOnly ? (
        <p class="read-only muted" data-testid="read-only">
          You are watching by a read-only link.
        </p>
      ) : (
        <Composer model={model} />
      )}
      <Announcer model={model} />
    </div>
  );
}

/** 1 to 9 give the nth answer of the oldest approval; with Alt also while a text is being typed. */
function useApprovalKeys(model: SessionModel): void {
  useEffect(() => {
    if (model.readOnly) return;
    const onKey = (event: KeyboardEvent) => {
      const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1];
      if (!digit || event.ctrlKey || event.metaKey || event.shiftKey || event.repeat) return;
      if (!event.altKey && isTyping(event.target)) return;
      if (document.querySelector("dialog[open]")) return;
      const button = pendingCard()?.querySelectorAll<HTMLButtonElement>("button[data-option-id]")[Number(digit) - 1];
      if (!button) return;
      event.preventDefault();
      button.click();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [model]);
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]");
}

/** What was sent and is not in the log yet. */
function Outbox({ model }: { model: SessionModel }) {
  return (
    <>
      {model.outgoing.value.map((outgoing) => (
        <div key={outgoing.messageId} class="outgoing" data-testid="outgoing" data-failed={outgoing.error !== undefined}>
          <div class="user-message">{outgoing.text}</div>
          {outgoing.error === undefined ? (
            <span class="muted">Sending…</span>
          ) : (
            <span class="problem" role="alert">
              {outgoing.error}{" "}
              <button type="button" class="quiet" onClick={() => void model.sendAgain(outgoing)}>
                Send again
              </button>
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
  const text = activityTexts[transcript.status.value ?? ""];
  if (!text) {
    return transcript.length.value === 0 && model.connection.value.phase === "live" ? (
      <p class="muted hint">Nothing was said yet. The agent starts with the first message.</p>
    ) : null;
  }
  return (
    <p class="activity" data-status={transcript.status.value}>
      <span class="dot" aria-hidden="true" /> {model.readOnly ? text.replace("your", "an") : text}
    </p>
  );
}

/**
 * Shown while an approval waits out of sight: it must not be overlooked. It lies over the transcript and takes no room:
 * what moved as it comes and goes would be the approval, under the pointer of whoever is about to answer.
 */
function PendingNotice({ model }: { model: SessionModel }) {
  const pending = model.transcript.value.pending.value;
  const [inSight, setInSight] = useState(false);
  useEffect(() => {
    const card = pendingCard();
    if (!card) return setInSight(false);
    const observer = new IntersectionObserver((entries) => setInSight(entries.at(-1)!.isIntersecting));
    observer.observe(card);
    return () => {
      observer.disconnect();
      setInSight(false);
    };
  }, [pending, model.revealed.value]);

  if (pending.length === 0 || inSight) return null;
  const show = () => {
    // It may be far up, where nothing is drawn.
    model.revealed.value = model.transcript.peek().items.indexOf(pending[0]!);
    requestAnimationFrame(() => {
      const card = pendingCard();
      card?.scrollIntoView({ block: "center" });
      card?.querySelector("button")?.focus();
    });
  };
  return (
    <div class="pending-notice" data-testid="pending-notice">
      <span>
        {model.readOnly
          ? "The agent waits for an approval."
          : pending.length === 1
            ? "The agent waits for your approval."
            : `${pending.length} approvals wait for you.`}
      </span>
      <button type="button" class="quiet" onClick={show}>
        Show
      </button>
    </div>
  );
}

function pendingCard(): HTMLElement | null {
  return document.querySelector('.approval[data-state="pending"]');
}

/** Says to a screen reader what changes, but not each word of a stream. */
function Announcer({ model }: { model: SessionModel }) {
  const [text, setText] = useState("");
  useSignalEffect(() => {
    const transcript = model.transcript.value;
    const pending = transcript.pending.value.at(-1);
    const status = transcript.status.value;
    if (model.connection.value.phase === "offline") setText("Connection lost");
    else if (pending) setText(`Approval needed: ${pending.request.title}`);
    else if (status) setText(statusLabels[status]);
  });
  return (
    <div class="unseen" role="status" aria-live="polite">
      {text}
    </div>
  );
}
