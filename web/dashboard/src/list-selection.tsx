import { useState } from "preact/hooks";
import type { Session } from "@sessionhub/client";
import type { BatchAction } from "@sessionhub/client/inbox";
import { changeMany } from "./changes.js";
import { sessionName } from "./format.js";
import { Dialog } from "./menu.js";

/** What can be done to the sessions that are selected. */
export function SelectionBar({
  selected,
  all,
  archived,
  onSelect,
  onClose,
}: {
  selected: ReadonlySet<string>;
  all: Session[];
  archived: boolean;
  onSelect: (sessionIds: string[]) => void;
  onClose: () => void;
}) {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const chosen = all.filter(({ sessionId }) => selected.has(sessionId));
  const change = async (action: BatchAction) => {
    setBusy(true);
    const wrong = await changeMany(action, [...selected]);
    setBusy(false);
    if (wrong) setProblem(wrong);
    else onClose();
  };
  const none = selected.size === 0 || busy;
  return (
    <div class="selection" role="group" aria-label="Selected sessions" data-testid="selection">
      <span class="list-choices">
        <span aria-live="polite">{selected.size} selected</span>
        <button type="button" class="quiet" onClick={() => onSelect(all.map(({ sessionId }) => sessionId))}>
          All
        </button>
        <button type="button" class="quiet" onClick={onClose} data-testid="selection-close">
          Cancel
        </button>
      </span>
      <span class="actions">
        <button
          type="button"
          class="button"
          disabled={none}
          onClick={() => void change(archived ? "unarchive" : "archive")}
          data-testid="selection-archive"
        >
          {archived ? "Unarchive" : "Archive"}
        </button>
        <button type="button" class="button" disabled={none} onClick={() => void change("seen")}>
          Mark read
        </button>
        <button
          type="button"
          class="button danger"
          disabled={none}
          onClick={() => setDeleting(true)}
          data-testid="selection-delete"
        >
          Delete…
        </button>
      </span>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {deleting && <ConfirmDelete sessions={chosen} onClose={() => setDeleting(false)} onDone={onClose} />}
    </div>
  );
}

/** So many names are told before the rest is counted. */
const mostNames = 5;

/** Asks once more before sessions are deleted. */
export function ConfirmDelete({
  sessions,
  onClose,
  onDone,
}: {
  sessions: Session[];
  onClose: () => void;
  onDone?: () => void;
}) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const remove = async () => {
    setBusy(true);
    const wrong = await changeMany(
      "delete",
      sessions.map(({ sessionId }) => sessionId),
    );
    setBusy(false);
    setProblem(wrong);
    if (wrong) return;
    onClose();
    onDone?.();
  };
  const rest = sessions.length - mostNames;
  return (
    <Dialog labelledBy="delete-many-title" onClose={onClose}>
      <h2 id="delete-many-title">
        {sessions.length === 1 ? "Delete this session?" : `Delete ${sessions.length} sessions?`}
      </h2>
      <ul class="delete-names">
        {sessions.slice(0, mostNames).map((session) => (
          <li key={session.sessionId}>
            <strong>{sessionName(session)}</strong>
          </li>
        ))}
        {rest > 0 && <li class="muted">and {rest} more</li>}
      </ul>
      <p>
        {sessions.length === 1 ? "It stops" : "They stop"} at once, with everything that was started. What was said is
        gone for good; files that agents wrote stay.
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
          data-testid="confirm-delete-many"
        >
          Delete
        </button>
        <button type="button" class="button" onClick={onClose}>
          {sessions.length === 1 ? "Keep it" : "Keep them"}
        </button>
      </div>
    </Dialog>
  );
}
