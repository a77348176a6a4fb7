import { useState } from "preact/hooks";
import type { Session } from "@sessionhub/client";
import { changeMany, continueSession, renameSession } from "./changes.js";
import { ago, isOver, sessionName, waitingQuestions } from "./format.js";
import { ConfirmDelete } from "./list-selection.js";
import { Menu } from "./menu.js";
import { startLike } from "./new-session.js";
import { go, sessionHref } from "./route.js";
import { RenameDialog } from "./session-dialogs.js";
import { UnaskedBadge } from "./session-options.js";
import { StatusPill } from "./status-pill.js";
import { line } from "./text.js";

/** A session of the list, with what can be done to it. `selected` is undefined while nothing is selected. */
export function Row({
  session,
  current,
  selected,
  onSelect,
}: {
  session: Session;
  current: boolean;
  selected: boolean | undefined;
  onSelect: (on: boolean) => void;
}) {
  const waiting = waitingQuestions(session);
  const name = sessionName(session);
  return (
    <li class="list-row" data-unread={session.unread ?? false}>
      {selected !== undefined && (
        <input
          type="checkbox"
          checked={selected}
          onChange={(event) => onSelect(event.currentTarget.checked)}
          aria-label={`Select ${name}`}
          data-testid="row-select"
        />
      )}
      <a
        class="session-row"
        href={sessionHref(session.sessionId)}
        aria-current={current ? "page" : undefined}
        data-testid="session-row"
        data-session-id={session.sessionId}
        data-unread={session.unread ?? false}
      >
        <span class="row-top">
          {session.unread && (
            <span class="unread-dot" title="Unread" data-testid="row-unread">
              <span class="unseen">Unread: </span>
            </span>
          )}
          <span class="row-name">{name}</span>
          {waiting > 0 && (
            <span class="badge" title="Questions that wait for an answer" data-testid="pending-approvals">
              {waiting}
              <span class="unseen"> pending questions</span>
            </span>
          )}
          <time class="muted" dateTime={session.lastActivityAt} title={session.lastActivityAt}>
            {ago(session.lastActivityAt)}
          </time>
        </span>
        <span class="row-bottom muted">
          <StatusPill status={session.status} />
          {session.asking === false && !isOver(session.status) && (
            <UnaskedBadge mode={session.mode ?? ""} testId="row-unasked" />
          )}
          <span>{line(session.provider)}</span>
          <span class="row-directory" title={line(session.workingDirectory)}>
            <bdi>{line(session.workingDirectory)}</bdi>
          </span>
        </span>
      </a>
      {selected === undefined && <RowMenu session={session} name={name} />}
    </li>
  );
}

function RowMenu({ session, name }: { session: Session; name: string }) {
  const { sessionId, pinned, archived, unread } = session;
  const [asked, setAsked] = useState<"rename" | "delete">();
  const [problem, setProblem] = useState("");
  const change = (action: Parameters<typeof changeMany>[0]) => void changeMany(action, [sessionId]).then(setProblem);
  const item = (text: string, testId: string, act: () => void) => (
    <button type="button" class="quiet" onClick={act} data-testid={testId}>
      {text}
    </button>
  );
  return (
    <span class="row-menu">
      <Menu name="⋯" label={`Actions for ${name}`} testId="row-menu">
        {unread && item("Mark as read", "row-seen", () => change("seen"))}
        {!isOver(session.status) && item("Rename…", "row-rename", () => setAsked("rename"))}
        {item(pinned ? "Unpin" : "Pin", "row-pin", () => change(pinned ? "unpin" : "pin"))}
        {item(archived ? "Take out of the archive" : "Archive", "row-archive", () =>
          change(archived ? "unarchive" : "archive"),
        )}
        {isOver(session.status) &&
          item("Continue", "row-continue", () => void continueSession(session).then(setProblem))}
        {item("Duplicate…", "row-duplicate", () => {
          startLike(session);
          go("#/new");
        })}
        {item("Delete…", "row-delete", () => setAsked("delete"))}
      </Menu>
      {problem && (
        <span class="problem row-problem" role="alert">
          {problem}{" "}
          <button type="button" class="quiet" onClick={() => setProblem("")}>
            Close
          </button>
        </span>
      )}
      {asked === "rename" && (
        <RenameDialog
          title={session.title}
          rename={(title) => renameSession(sessionId, title)}
          onClose={() => setAsked(undefined)}
        />
      )}
      {asked === "delete" && <ConfirmDelete sessions={[session]} onClose={() => setAsked(undefined)} />}
    </span>
  );
}
