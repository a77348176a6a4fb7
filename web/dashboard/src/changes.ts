import { HubError, type Session } from "@sessionhub/client";
import { changeSessions, type BatchAction } from "@sessionhub/client/inbox";
import { errorText } from "./format.js";
import { asUser, forgetToken, keepToken } from "./hub.js";
import { refreshInbox } from "./inbox-feed.js";
import { go, sessionHref } from "./route.js";
import { refreshSessions } from "./session-list.js";

// What a user does to sessions as a whole, from a list.

/** The hub takes so many at once. */
const batchSize = 100;

/** Does one action on sessions. Resolves with what went wrong in words; empty: nothing. */
export async function changeMany(action: BatchAction, sessionIds: string[]): Promise<string> {
  const failed: string[] = [];
  try {
    for (let from = 0; from < sessionIds.length; from += batchSize) {
      const part = sessionIds.slice(from, from + batchSize);
      for (const { sessionId, problem } of await asUser((hub) => changeSessions(hub, action, part))) {
        // One that is gone needs nothing more.
        if (problem && problem.code !== "not_found") {
          failed.push(errorText(new HubError(problem.code, problem.detail, { status: problem.status })));
        } else if (action === "delete") forgetToken(sessionId);
      }
    }
  } catch (error) {
    failed.push(errorText(error));
  }
  refreshSessions();
  refreshInbox();
  if (failed.length === 0) return "";
  return failed.length === 1 ? failed[0]! : `${failed.length} sessions were not changed. ${failed[0]}`;
}

/** Names a session; "" takes its name away. Rejects with a HubError where that was refused. */
export async function renameSession(sessionId: string, title: string): Promise<void> {
  await asUser((hub) => hub.command(sessionId, { type: "rename", data: { title } }));
  refreshSessions();
  refreshInbox();
}

/** Goes on with an ended session in a new one, which has its log and a fork of its agent. Resolves with what went wrong. */
export async function continueSession(session: Session): Promise<string> {
  try {
    const made = await asUser((hub) => hub.forkSession(session.sessionId));
    keepToken(made.sessionId, made.token);
    refreshSessions();
    go(sessionHref(made.sessionId));
    return "";
  } catch (error) {
    if (error instanceof HubError && error.code === "not_implemented") {
      return "Its agent cannot go on from there. Duplicate the session, and tell the new one what it needs to know.";
    }
    return errorText(error);
  }
}
