import type { TranscriptFormat } from "@sessionhub/client";
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { continueSession } from "./changes.js";
import { ConnectionState } from "./connection.js";
import { showEverything, toggleEverything } from "./everything.js";
import { fileName, saveFile } from "./export.js";
import { FilesDialog } from "./files-dialog.js";
import { errorText, sessionName } from "./format.js";
import { api, asUser, keepToken } from "./hub.js";
import { refreshInbox } from "./inbox-feed.js";
import { Dialog, Menu } from "./menu.js";
import { startLike } from "./new-session.js";
import { unaskedMode } from "./options.js";
import { pageTitle } from "./page-title.js";
import { go, sessionHref } from "./route.js";
import { refreshSessions } from "./session-list.js";
import { CommandsDialog, RenameDialog } from "./session-dialogs.js";
import type { SessionModel } from "./session-model.js";
import { OptionsDialog, UnaskedBadge } from "./session-options.js";
import { ShareDialog } from "./share.js";
import { StatusPill } from "./status-pill.js";
import { line } from "./text.js";
import { contextText, costText } from "./told.js";

/** What session this is, how it does, how the page hangs on it, and what can be done to it as a whole. */
export function SessionHeader({ model, onSearch }: { model: SessionModel; onSearch: () => void }) {
  const session = model.session.value;
  const status = model.transcript.value.status.value ?? session?.status;
  const name = session
    ? sessionName({ ...session, title: model.title.value })
    : line(model.title.value) || model.sessionId;
  const { commands, context } = model.told.value;
  const filled = contextText(context.value);
  const cost = costText(session?.usage?.cost);
  const pending = model.over.value ? 0 : model.transcript.value.pending.value.length;
  const connection = model.connection.value;
  // The last status that was heard of says nothing of a session that is out of reach for good.
  const lost =
    connection.phase === "closed" && (connection.reason === "not_found" || connection.reason === "unauthorized");
  useEffect(() => {
    // The count of the inbox says it of the user's own session.
    pageTitle.value = `${model.readOnly && pending > 0 ? "(!) " : ""}${name} – sessionhub`;
  }, [name, pending]);
  // The list beside it should not say something else until its next reading.
  const unasked = unaskedMode(model.transcript.value.options.value, session);
  useEffect(() => {
    refreshSessions();
    refreshInbox();
  }, [status, pending, name, unasked]);

  const [asked, setAsked] = useState<"files" | "options" | "share" | "delete" | "rename" | "commands">();
  const [problem, setProblem] = useState("");
  const run = async (make: () => Promise<void> | void) => {
    setProblem("");
    try {
      await make();
    } catch (error) {
      setProblem(errorText(error));
    }
  };
  const [forking, setForking] = useState(false);
  const fork = async () => {
    setForking(true);
    await run(async () => {
      const made = await asUser((hub) => hub.forkSession(model.sessionId));
      keepToken(made.sessionId, made.token);
      refreshSessions();
      go(sessionHref(made.sessionId));
    });
    setForking(false);
  };
  const save = (format: TranscriptFormat, ending: string) =>
    run(async () => {
      const content = await api.peek().transcript(model.sessionId, format, { token: await model.token() });
      saveFile(fileName(session, model.sessionId, ending), content);
    });

  return (
    <header class="session-header">
      {!model.readOnly && (
        <a class="back" href="#/" aria-label="All sessions">
          ←
        </a>
      )}
      <div class="session-title">
        <h1>{name}</h1>
        <p class="muted session-facts">
          {session && <span>{line(session.provider)}</span>}
          {session?.workingDirectory && (
            <code title={line(session.workingDirectory)}>{line(session.workingDirectory)}</code>
          )}
          {filled && <span data-testid="context">{filled}</span>}
          {cost && <span data-testid="cost">{line(cost)}</span>}
        </p>
      </div>
      <div class="session-state">
        {status && !lost && <StatusPill status={status} testId="status" />}
        {unasked !== undefined && !model.over.value && <UnaskedBadge mode={unasked} testId="unasked" />}
        <ConnectionState model={model} />
      </div>
      <div class="session-actions">
        <button
          type="button"
          class="quiet"
          onClick={onSearch}
          aria-keyshortcuts="/"
          title="Search (/)"
          data-testid="search"
        >
          Search
        </button>
        {model.files && (
          <button type="button" class="quiet" onClick={() => setAsked("files")} data-testid="files">
            Files
          </button>
        )}
        <Menu name="More" testId="more">
          <MenuItem onClick={() => setAsked("options")} testId="options-open">
            Options…
          </MenuItem>
          <MenuItem onClick={() => void save("markdown", "md")} testId="export-markdown">
            Export as Markdown
          </MenuItem>
          <MenuItem onClick={() => void save("json", "json")} testId="export-json">
            Export as JSON
          </MenuItem>
          <MenuItem onClick={toggleEverything} testId="show-everything">
            {showEverything.value ? "Hide what is for programs" : "Show everything"}
          </MenuItem>
          {!model.readOnly && (
            <>
              {commands.value.length > 0 && !model.over.value && (
                <MenuItem onClick={() => setAsked("commands")} testId="commands">
                  Commands of the agent…
                </MenuItem>
              )}
              {!model.over.value && (
                <MenuItem onClick={() => setAsked("rename")} testId="rename">
                  Rename…
                </MenuItem>
              )}
              {!model.over.value ? (
                <MenuItem onClick={() => !forking && void fork()} testId="fork">
                  {forking ? "Forking…" : "Fork"}
                </MenuItem>
              ) : (
                session && (
                  <MenuItem onClick={() => void continueSession(session).then(setProblem)} testId="continue">
                    Continue in a new session
                  </MenuItem>
                )
              )}
              {session && (
                <MenuItem
                  onClick={() => {
                    startLike(session);
                    go("#/new");
                  }}
                  testId="duplicate"
                >
                  Duplicate…
                </MenuItem>
              )}
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
      {asked === "files" && model.files && (
        <FilesDialog
          files={model.files}
          worktree={session?.worktree && (model.readOnly ? "see" : "act")}
          onClose={() => setAsked(undefined)}
        />
      )}
      {asked === "options" && <OptionsDialog model={model} onClose={() => setAsked(undefined)} />}
      {asked === "rename" && (
        <RenameDialog
          title={model.title.peek()}
          rename={(title) => model.rename(title)}
          onClose={() => setAsked(undefined)}
        />
      )}
      {asked === "commands" && <CommandsDialog model={model} onClose={() => setAsked(undefined)} />}
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
        <strong>{name}</strong> stops at once, with everything its agent started. Its transcript is gone for good; files
        that the agent wrote stay.
        {model.session.value?.worktree && " Its worktree goes too, unless it has work that is not merged."}
      </p>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <div class="actions">
        <button
          type="button"
          class="button danger-solid"
          disabled={busy}
          onClick={() => void remove()}
          data-testid="confirm-delete"
        >
          Delete
        </button>
        <button type="button" class="button" onClick={onClose}>
          Keep it
        </button>
      </div>
    </Dialog>
  );
}
