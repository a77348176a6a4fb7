import { useEffect, useRef, useState } from "preact/hooks";
import { ConnectionState } from "./connection.js";
import { fileName, save, toJson, toMarkdown } from "./export.js";
import { errorText, sessionName } from "./format.js";
import { go } from "./route.js";
import { refreshSessions, StatusPill } from "./session-list.js";
import type { SessionModel } from "./session-model.js";
import { Share } from "./share.js";

/** What session this is, how it does, how the page hangs on it, and what can be done to it as a whole. */
export function SessionHeader({ model, onSearch }: { model: SessionModel; onSearch: () => void }) {
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
      {!model.readOnly && (
        <a class="back" href="#/" aria-label="All sessions">
          <span aria-hidden="true">←</span>
        </a>
      )}
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
      </div>
      <div class="session-actions">
        <button type="button" class="quiet" onClick={onSearch} aria-keyshortcuts="/" title="Search (/)" data-testid="search">
          Search
        </button>
        <Export model={model} />
        {!model.readOnly && <Share model={model} />}
        {!model.readOnly && <Delete model={model} name={name} />}
      </div>
    </header>
  );
}

function Export({ model }: { model: SessionModel }) {
  const [problem, setProblem] = useState("");
  const menu = useRef<HTMLDetailsElement>(null);
  const session = model.session.value;
  const run = async (make: () => Promise<void> | void) => {
    setProblem("");
    try {
      await make();
      if (menu.current) menu.current.open = false;
    } catch (error) {
      setProblem(errorText(error));
    }
  };
  const markdown = () =>
    save(fileName(session, model.sessionId, "md"), "text/markdown", toMarkdown(model.transcript.peek().items, session));
  const json = async () =>
    save(fileName(session, model.sessionId, "json"), "application/json", await toJson(model.sessionId, await model.token()));
  return (
    <details
      class="menu"
      ref={menu}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !menu.current?.open) return;
        menu.current.open = false;
        menu.current.querySelector("summary")?.focus();
      }}
    >
      <summary class="quiet" data-testid="export">
        Export
      </summary>
      <div class="menu-body">
        <button type="button" class="quiet" onClick={() => void run(markdown)} data-testid="export-markdown">
          Markdown
        </button>
        <button type="button" class="quiet" onClick={() => void run(json)} data-testid="export-json">
          JSON
        </button>
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
      </div>
    </details>
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
