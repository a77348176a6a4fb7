import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ConnectionState } from "./connection.js";
import { fileName, save, toJson, toMarkdown } from "./export.js";
import { errorText, sessionName } from "./format.js";
import { Dialog, Menu } from "./menu.js";
import { go } from "./route.js";
import { refreshSessions, StatusPill } from "./session-list.js";
import type { SessionModel } from "./session-model.js";
import { ShareDialog } from "./share.js";

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

  const [asked, setAsked] = useState<"share" | "delete">();
  const [problem, setProblem] = useState("");
  const run = async (make: () => Promise<void> | void) => {
    setProblem("");
    try {
      await make();
    } catch (error) {
      setProblem(errorText(error));
    }
  };
  const markdown = () =>
    save(fileName(session, model.sessionId, "md"), "text/markdown", toMarkdown(model.transcript.peek().items, session));
  const json = async () =>
    save(fileName(session, model.sessionId, "json"), "application/json", await toJson(model.sessionId, await model.token()));

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
        <Menu name="More" testId="more">
          <MenuItem onClick={() => void run(markdown)} testId="export-markdown">
            Export as Markdown
          </MenuItem>
          <MenuItem onClick={() => void run(json)} testId="export-json">
            Export as JSON
          </MenuItem>
          {!model.readOnly && (
            <>
              <MenuItem onClick={() => setAsked("share")} testId="share">
                Share a link…
              </MenuItem>
              <MenuItem onClick={() => setAsked("delete")} testId="delete">
                Delete…
              </MenuItem>
            </>
          )}
        </Menu>
      </div>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {asked === "share" && <ShareDialog model={model} onClose={() => setAsked(undefined)} />}
      {asked === "delete" && <DeleteDialog model={model} name={name} onClose={() => setAsked(undefined)} />}
    </header>
  );
}

function MenuItem({ onClick, testId, children }: { onClick: () => void; testId: string; children: ComponentChildren }) {
  return (
    <button type="button" class="quiet" onClick={onClick} data-testid={testId}>
      {children}
    </button>
  );
}

function DeleteDialog({ model, name, onClose }: { model: SessionModel; name: string; onClose: () => void }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const remove = async () => {
    setBusy(true);
    setProblem("");
    try {
      await model.delete();
      onClose();
      refreshSessions();
      go("#/");
    } catch (error) {
      setProblem(errorText(error));
      setBusy(false);
    }
  };
  return (
    <Dialog labelledBy="delete-title" onClose={onClose}>
      <h2 id="delete-title">Delete this session?</h2>
      <p>
        <strong>{name}</strong> stops at once, with everything its agent started. Its transcript is gone for good; files that the
        agent wrote stay.
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
        <button type="button" class="button" onClick={onClose}>
          Keep it
        </button>
      </div>
    </Dialog>
  );
}
