import { useEffect, useRef, useState } from "preact/hooks";
import { useSignalEffect } from "@preact/signals";
import { Composer } from "./composer.js";
import { ConnectionState } from "./connection.js";
import { errorText, sessionName, statusLabels } from "./format.js";
import { go } from "./route.js";
import { refreshSessions, StatusPill } from "./session-list.js";
import { SessionModel } from "./session-model.js";
import { TranscriptView } from "./transcript-view.js";

/** One session. The caller gives it a key by the session's id, so that another session is another page. */
export function SessionPage({ sessionId }: { sessionId: string }) {
  const [model, setModel] = useState<SessionModel>();
  useEffect(() => {
    const opened = new SessionModel(sessionId);
    setModel(opened);
    return () => opened.dispose();
  }, [sessionId]);
  return model ? <OpenSession model={model} /> : null;
}

function OpenSession({ model }: { model: SessionModel }) {
  const problem = model.problem.value;
  if (problem) {
    return (
      <div class="empty">
        <p role="alert">{problem}</p>
        <div class="actions">
          <button type="button" class="button" onClick={() => model.restart()}>
            Try again
          </button>
          <a class="button" href="#/">
            All sessions
          </a>
        </div>
      </div>
    );
  }
  return (
    <div class="session">
      <Header model={model} />
      <TranscriptView model={model}>
        <Outbox model={model} />
        <Activity model={model} />
      </TranscriptView>
      <PendingNotice model={model} />
      <Composer model={model} />
      <Announcer model={model} />
    </div>
  );
}

function Header({ model }: { model: SessionModel }) {
  const session = model.session.value;
  const status = model.transcript.value.status.value ?? session?.status;
  const name = session ? sessionName(session) : model.sessionId;
  const pending = model.transcript.value.pending.value.length;
  useEffect(() => {
    document.title = `${pending > 0 ? "(!) " : ""}${name} – sessionhub`;
  }, [name, pending]);
  // The list beside it should not say something else until its next reading.
  useEffect(refreshSessions, [status, pending]);

  return (
    <header class="session-header">
      <a class="back" href="#/" aria-label="All sessions">
        <span aria-hidden="true">←</span>
      </a>
      <div class="session-title">
        <h1>{name}</h1>
        <p class="muted session-facts">
          {session && <span>{session.provider}</span>}
          {session?.workingDirectory && <code title={session.workingDirectory}>{session.workingDirectory}</code>}
        </p>
      </div>
      <div class="session-state">
        {status && <StatusPill status={status} testId="status" />}
        <ConnectionState model={model} />
        <Delete model={model} name={name} />
      </div>
    </header>
  );
}

function Delete({ model, name }: { model: SessionModel; name: string }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const remove = async () => {
    setBusy(true);
    setProblem("");
    try {
      await model.delete();
      dialog.current?.close();
      refreshSessions();
      go("#/");
    } catch (error) {
      setProblem(errorText(error));
      setBusy(false);
    }
  };
  return (
    <>
      <button type="button" class="quiet" onClick={() => dialog.current?.showModal()} data-testid="delete">
        Delete
      </button>
      <dialog ref={dialog} class="card" aria-labelledby="delete-title">
        <h2 id="delete-title">Delete this session?</h2>
        <p>
          <strong>{name}</strong> stops at once, with everything its agent started. Its transcript is gone for good; files
          that the agent wrote stay.
        </p>
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        <div class="actions">
          <button type="button" class="button danger-solid" disabled={busy} onClick={() => void remove()} data-testid="confirm-delete">
            Delete
          </button>
          <button type="button" class="button" onClick={() => dialog.current?.close()}>
            Keep it
          </button>
        </div>
      </dialog>
    </>
  );
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
      <span class="dot" aria-hidden="true" /> {text}
    </p>
  );
}

/** Shown while an approval waits out of sight: it must not be overlooked. */
function PendingNotice({ model }: { model: SessionModel }) {
  const pending = model.transcript.value.pending.value;
  const [inSight, setInSight] = useState(false);
  useEffect(() => {
    const card = pendingCard();
    if (!card) return;
    const observer = new IntersectionObserver((entries) => setInSight(entries.at(-1)!.isIntersecting));
    observer.observe(card);
    return () => {
      observer.disconnect();
      setInSight(false);
    };
  }, [pending]);

  if (pending.length === 0 || inSight) return null;
  const show = () => {
    const card = pendingCard();
    card?.scrollIntoView({ block: "center" });
    card?.querySelector("button")?.focus();
  };
  return (
    <div class="pending-notice">
      <span>{pending.length === 1 ? "The agent waits for your approval." : `${pending.length} approvals wait for you.`}</span>
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
