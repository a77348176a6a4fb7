import { useEffect, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import type { Session, SessionList as Page } from "@sessionhub/client";
import { ago, errorText, isOver, sessionName, statusLabels, waitingQuestions } from "./format.js";
import { asUser } from "./hub.js";
import { followed, notifyApproval, permission } from "./notify.js";
import { sessionHref } from "./route.js";
import { UnaskedBadge } from "./session-options.js";
import { line } from "./text.js";

const refreshMs = 4_000;
/** While nobody looks, and only to notify. */
const hiddenRefreshMs = 15_000;

/** Grows to ask for a refresh now: after a session was made or deleted. */
const refreshAsked = signal(0);

export function refreshSessions(): void {
  refreshAsked.value++;
}

/** The user's sessions, newest first; read again every few seconds while the page is seen, and when it comes back. */
export function SessionList({ current }: { current: string | undefined }) {
  const [first, setFirst] = useState<Page>();
  const [older, setOlder] = useState<Page>();
  const [problem, setProblem] = useState("");
  const asked = refreshAsked.value;

  useEffect(() => {
    let stopped = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let reading = false;
    const refresh = async () => {
      clearTimeout(timer);
      if (reading) return;
      reading = true;
      if (!document.hidden || permission.peek() === "granted") {
        try {
          const page = await asUser((hub) => hub.listSessions());
          if (stopped) return;
          notifyNew(page.sessions);
          setFirst(page);
          setProblem("");
        } catch (error) {
          if (stopped) return;
          setProblem(errorText(error));
        }
      }
      reading = false;
      timer = setTimeout(refresh, document.hidden ? hiddenRefreshMs : refreshMs);
    };
    void refresh();
    window.addEventListener("focus", refresh);
    document.addEventListener("visibilitychange", refresh);
    return () => {
      stopped = true;
      clearTimeout(timer);
      window.removeEventListener("focus", refresh);
      document.removeEventListener("visibilitychange", refresh);
    };
  }, [asked]);

  const readOlder = async (cursor: string) => {
    try {
      const page = await asUser((hub) => hub.listSessions({ cursor }));
      setOlder((before) => ({ ...page, sessions: [...(before?.sessions ?? []), ...page.sessions] }));
    } catch (error) {
      setProblem(errorText(error));
    }
  };

  const sessions = unique([...(first?.sessions ?? []), ...(older?.sessions ?? [])]);
  const next = older ? older.nextCursor : first?.nextCursor;
  return (
    <nav class="sessions" aria-label="Sessions">
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {first && sessions.length === 0 && <p class="muted hint">No sessions yet.</p>}
      <ul>
        {sessions.map((session) => (
          <li key={session.sessionId}>
            <Row session={session} current={session.sessionId === current} />
          </li>
        ))}
      </ul>
      {next !== undefined && next !== "" && (
        <button type="button" class="quiet" onClick={() => void readOlder(next)}>
          Show older
        </button>
      )}
    </nav>
  );
}

/** How many questions of each session waited for people, when it was last read. */
const knownPending = new Map<string, number>();

function notifyNew(sessions: Session[]): void {
  for (const session of sessions) {
    const known = knownPending.get(session.sessionId);
    const waiting = waitingQuestions(session);
    if (known !== undefined && waiting > known && !followed.has(session.sessionId)) {
      const what = session.pendingElicitations ? "answer" : "approval";
      notifyApproval(session.sessionId, sessionName(session), `It waits for your ${what}.`);
    }
    knownPending.set(session.sessionId, waiting);
  }
}

function Row({ session, current }: { session: Session; current: boolean }) {
  const waiting = waitingQuestions(session);
  return (
    <a
      class="session-row"
      href={sessionHref(session.sessionId)}
      aria-current={current ? "page" : undefined}
      data-testid="session-row"
      data-session-id={session.sessionId}
    >
      <span class="row-top">
        <span class="row-name">{sessionName(session)}</span>
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
  );
}

export function StatusPill({ status, testId }: { status: Session["status"]; testId?: string }) {
  return (
    <span class="pill" data-status={status} data-testid={testId}>
      <span class="dot" aria-hidden="true" />
      {statusLabels[status] ?? status}
    </span>
  );
}

/** An older page is not read again, so a session can be on two. The newer reading comes first. */
function unique(sessions: Session[]): Session[] {
  return [...new Map(sessions.toReversed().map((session) => [session.sessionId, session])).values()].toReversed();
}
