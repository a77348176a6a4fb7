import { useEffect, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import type { Session, SessionList as Page } from "@sessionhub/client";
import { inBackground } from "./background.js";
import { errorText, waitingQuestions, sessionName } from "./format.js";
import { asUser } from "./hub.js";
import { inbox } from "./inbox-feed.js";
import { SelectionBar } from "./list-selection.js";
import { Row } from "./list-row.js";
import { followed, notifyApproval, permission } from "./notify.js";

const refreshMs = 4_000;
/** While nobody looks, and only to notify. */
const hiddenRefreshMs = 15_000;
/** So long after the last key a search begins. */
const searchDelayMs = 250;

/** Grows to ask for a refresh now: after a session was made or deleted. */
const refreshAsked = signal(0);

export function refreshSessions(): void {
  refreshAsked.value++;
}

/** The user's sessions, by what they need, and found by a text; read again every few seconds while the page is seen, and when it comes back. */
export function SessionList({ current }: { current: string | undefined }) {
  const [archived, setArchived] = useState(false);
  const [text, setText] = useState("");
  const [inLogs, setInLogs] = useState(false);
  const [wanted, setWanted] = useState("");
  const [selected, setSelected] = useState<ReadonlySet<string>>();
  useEffect(() => {
    const timer = setTimeout(() => setWanted(text.trim()), text ? searchDelayMs : 0);
    return () => clearTimeout(timer);
  }, [text]);
  const { sessions, next, problem, older, read } = usePages(archived, wanted, inLogs);

  const select = (sessionId: string, on: boolean) => {
    const now = new Set(selected);
    if (on) now.add(sessionId);
    else now.delete(sessionId);
    setSelected(now);
  };
  const groups = wanted || archived ? [{ name: "", sessions }] : grouped(sessions);
  return (
    <nav class="sessions" aria-label="Sessions" data-testid="sessions">
      <search class="list-tools">
        <input
          type="search"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          maxLength={100}
          placeholder={archived ? "Search the archive" : "Search sessions"}
          aria-label="Search sessions"
          data-testid="list-search"
        />
        {selected ? (
          <SelectionBar
            selected={selected}
            all={sessions}
            archived={archived}
            onSelect={(ids) => setSelected(new Set(ids))}
            onClose={() => setSelected(undefined)}
          />
        ) : (
          <span class="list-choices">
            {wanted !== "" && (
              <label>
                <input
                  type="checkbox"
                  checked={inLogs}
                  onChange={(event) => setInLogs(event.currentTarget.checked)}
                  data-testid="list-in-logs"
                />{" "}
                in what was said
              </label>
            )}
            <button
              type="button"
              class="quiet"
              aria-pressed={archived}
              onClick={() => setArchived(!archived)}
              data-testid="list-archive"
            >
              {archived ? "All sessions" : "Archive"}
            </button>
            {sessions.length > 0 && (
              <button type="button" class="quiet" onClick={() => setSelected(new Set())} data-testid="list-select">
                Select
              </button>
            )}
          </span>
        )}
      </search>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {read && sessions.length === 0 && (
        <p class="muted hint">
          {wanted ? "Nothing was found so far." : archived ? "The archive is empty." : "No sessions yet."}
        </p>
      )}
      {groups.map(({ name, sessions: some }) => (
        <section key={name} aria-label={name || undefined} data-testid="list-group" data-group={name}>
          {name && <h2 class="list-group">{name}</h2>}
          <ul>
            {some.map((session) => (
              <Row
                key={session.sessionId}
                session={session}
                current={session.sessionId === current}
                selected={selected?.has(session.sessionId)}
                onSelect={(on) => select(session.sessionId, on)}
              />
            ))}
          </ul>
        </section>
      ))}
      {next && (
        <button type="button" class="quiet" onClick={() => void older()} data-testid="list-more">
          {wanted ? "Search on" : "Show older"}
        </button>
      )}
    </nav>
  );
}

/** The pages of a listing that were read: the first one again and again, the others once. */
function usePages(archived: boolean, query: string, inLogs: boolean) {
  const [first, setFirst] = useState<Page>();
  const [more, setMore] = useState<Page>();
  const [problem, setProblem] = useState("");
  const asked = refreshAsked.value;
  const search = query ? { query, text: inLogs || undefined } : {};
  useEffect(() => {
    setFirst(undefined);
    setMore(undefined);
  }, [archived, query, inLogs]);

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
          const page = await inBackground((hub, signal) => hub.listSessions({ archived, ...search }, { signal }));
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
      // A search of what was said is dear: it is made once.
      if (!inLogs || !query) timer = setTimeout(refresh, document.hidden ? hiddenRefreshMs : refreshMs);
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
  }, [asked, archived, query, inLogs]);

  const next = more ? more.nextCursor : first?.nextCursor;
  const older = async () => {
    try {
      const page = await asUser((hub) => hub.listSessions({ cursor: next, archived, ...search }));
      setMore((before) => ({ ...page, sessions: [...(before?.sessions ?? []), ...page.sessions] }));
    } catch (error) {
      setProblem(errorText(error));
    }
  };
  const sessions = unique([...(first?.sessions ?? []), ...(more?.sessions ?? [])]);
  return { sessions, next, problem, older, read: first !== undefined };
}

/** The sessions by what they need, each group by its last activity. Those that wait or work are there however old they are. */
function grouped(listed: Session[]): { name: string; sessions: Session[] }[] {
  const now = inbox.value;
  const concern = [...(now?.needsYou ?? []), ...(now?.finished ?? []), ...(now?.working ?? [])];
  const all = unique([...listed, ...concern.map(({ session }) => session)]).sort(
    (a, b) => Date.parse(b.lastActivityAt) - Date.parse(a.lastActivityAt),
  );
  const names = ["Needs you", "Pinned", "Unread", "Working", "Earlier"] as const;
  const nameOf = (session: Session): (typeof names)[number] => {
    if (waitingQuestions(session) > 0) return "Needs you";
    if (session.pinned) return "Pinned";
    if (session.unread) return "Unread";
    return ["running", "starting", "queued", "requires_action"].includes(session.status) ? "Working" : "Earlier";
  };
  return names
    .map((name) => ({ name, sessions: all.filter((session) => nameOf(session) === name) }))
    .filter(({ sessions }) => sessions.length > 0);
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

/** An older page is not read again, so a session can be on two. The newer reading comes first. */
function unique(sessions: Session[]): Session[] {
  return [...new Map(sessions.toReversed().map((session) => [session.sessionId, session])).values()].toReversed();
}
