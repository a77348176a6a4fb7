import type { Session } from "./events.js";
import type { StreamFrame } from "./transport.js";

/** What has happened to a session of the list. `snapshot`: it is there; nothing is known of before. */
export type ListChange = "snapshot" | "created" | "changed" | "needs_you" | "finished";

export interface ListHandlers {
  /**
   * A session is new or has changed. After a break it is `needs_you` also where the
   * question could have come meanwhile.
   */
  onListed?(session: Session, change: ListChange): void;
  /** The session is gone. */
  onUnlisted?(session: Session): void;
  /** The list is whole: at first, and again after each break. */
  onComplete?(): void;
}

/** The user's sessions as a listing has them now. It is at most 2 s behind. */
export interface LiveList {
  readonly sessions: ReadonlyMap<string, Session>;
  /** The first snapshot is over. */
  readonly complete: boolean;
  close(): void;
}

export interface ListReader extends LiveList {
  receive(frame: StreamFrame): void;
  /** Another connection begins with another snapshot. */
  restart(): void;
}

const questions = ({ pendingApprovals = 0, pendingElicitations = 0 }: Session) =>
  pendingApprovals + pendingElicitations;

/** Keeps a list by the frames of the feed: marks what a snapshot names, and sweeps the rest at its end. */
export function makeListReader(handlers: ListHandlers, onClose: () => void): ListReader {
  const sessions = new Map<string, Session>();
  let marked = new Set<string>();
  let complete = false;

  const remove = (sessionId: string) => {
    const session = sessions.get(sessionId);
    if (session && sessions.delete(sessionId)) handlers.onUnlisted?.(session);
  };
  const listed = (session: Session, change: ListChange) => {
    const { sessionId } = session;
    const before = sessions.get(sessionId);
    sessions.set(sessionId, session);
    if (change === "snapshot") {
      marked.add(sessionId);
      if (before) {
        if (JSON.stringify(before) === JSON.stringify(session)) return;
        const asked = questions(session) > questions(before) || before.lastSeq !== session.lastSeq;
        change = questions(session) > 0 && asked ? "needs_you" : "changed";
      } else if (complete) change = questions(session) > 0 ? "needs_you" : "created";
    }
    handlers.onListed?.(session, change);
  };

  return {
    sessions,
    get complete() {
      return complete;
    },
    close: onClose,
    restart() {
      marked = new Set();
    },
    receive({ type, data }) {
      if (type === "listed") {
        const { session, change } = data as { session: Session; change: ListChange };
        listed(session, change);
      } else if (type === "unlisted") {
        remove((data as { sessionId: string }).sessionId);
      } else if (type === "list_complete") {
        for (const sessionId of [...sessions.keys()]) if (!marked.has(sessionId)) remove(sessionId);
        marked = new Set();
        complete = true;
        handlers.onComplete?.();
      }
    },
  };
}
