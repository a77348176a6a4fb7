import type { CallOptions, HubApi } from "./api.js";
import type { ElicitationData } from "./elicitation.js";
import type { Session, StopReason, ToolApprovalData } from "./events.js";

// What concerns a user over all sessions. All of it but `markSeen` needs an API key, or
// local mode. The functions reject as the methods of HubApi do.

/** A session with open questions, each list with its oldest first. A private question comes without its content. */
export interface InboxNeed {
  session: Session;
  /** When the oldest question was asked. */
  since: string;
  approvals: ToolApprovalData[];
  elicitations: ElicitationData[];
}

/** A session at rest that the user has not read since. */
export interface InboxFinished {
  session: Session;
  finishedAt: string;
  stopReason?: StopReason;
  /** The last line that the agent wrote, or the title of its last tool call. */
  lastText?: string;
}

/** A session that works, or waits for a worker. */
export interface InboxWorking {
  session: Session;
  /** When the turn began; without a turn, the last activity. */
  since: string;
  lastText?: string;
}

export interface Inbox {
  needsYou: InboxNeed[];
  finished: InboxFinished[];
  working: InboxWorking[];
  /** There may be more than the lists have. */
  truncated?: boolean;
}

/** Everything that waits for the user, the oldest question first; what has finished; what works. */
export function readInbox(hub: HubApi, query: { userId?: string } = {}, options: CallOptions = {}): Promise<Inbox> {
  const user = query.userId === undefined ? "" : `?userId=${encodeURIComponent(query.userId)}`;
  return hub.call("GET", `inbox${user}`, options);
}

/** The user has read the session up to the event `seq`. Needs the scope `write`. */
export async function markSeen(hub: HubApi, sessionId: string, seq: number, options: CallOptions = {}): Promise<void> {
  await hub.call("POST", `sessions/${encodeURIComponent(sessionId)}/seen`, options, { seq });
}

export type BatchAction = "delete" | "archive" | "unarchive" | "pin" | "unpin" | "seen";

/** What became of one session. `problem` is absent if the action is done. */
export interface BatchResult {
  sessionId: string;
  problem?: { status: number; code: string; detail: string };
}

/** One action on up to 100 sessions. What fails for one of them does not hold the others up. */
export async function changeSessions(
  hub: HubApi,
  action: BatchAction,
  sessionIds: string[],
  options: CallOptions = {},
): Promise<BatchResult[]> {
  const body = await hub.call<{ results: BatchResult[] }>("POST", "sessions/batch", options, { action, sessionIds });
  return body.results;
}
