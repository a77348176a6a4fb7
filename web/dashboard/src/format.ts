import { HubError, type Session, type SessionStatus } from "@sessionhub/client";
import { line, prose } from "./text.js";

export const statusLabels: Record<SessionStatus, string> = {
  idle: "Idle",
  queued: "Queued",
  starting: "Starting",
  running: "Working",
  requires_action: "Needs you",
  ended: "Ended",
  failed: "Failed",
};

export function isBusy(status: SessionStatus | undefined): boolean {
  return status === "queued" || status === "starting" || status === "running" || status === "requires_action";
}

export function isOver(status: SessionStatus | undefined): boolean {
  return status === "ended" || status === "failed";
}

/** How many questions of a session wait for people. */
export function waitingQuestions(session: Pick<Session, "pendingApprovals" | "pendingElicitations">): number {
  return session.pendingApprovals + (session.pendingElicitations ?? 0);
}

/** What to call a session, on one line: its title, else its directory's name. */
export function sessionName(session: Pick<Session, "title" | "workingDirectory" | "sessionId">): string {
  const directory = session.workingDirectory?.split("/").filter(Boolean).at(-1);
  return line(session.title) || line(directory ?? "") || session.sessionId;
}

export function ago(time: string, now = Date.now()): string {
  const seconds = Math.max(0, (now - Date.parse(time)) / 1000);
  if (Number.isNaN(seconds)) return "";
  if (seconds < 45) return "now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export function clockTime(time: string): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "" : clock.format(date);
}

/** A value of unknown shape as text that can be read. */
export function asText(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value, null, 2) ?? "");
}

/** What happened, where the code says it better than the hub's own words. */
const errorTexts: Record<string, string> = {
  unreachable: "The hub does not answer.",
  session_ended: "The session has ended.",
  approval_resolved: "Somebody else answered this already.",
  elicitation_resolved: "Somebody else answered this already.",
  elicitation_expired: "The time for an answer is over.",
  connection_lost: "The connection broke before the hub answered.",
  stream_closed: "The session's stream is closed.",
  insufficient_scope: "This token may not do that.",
  content_unread: "The whole of it was not opened yet.",
};

/** What to do about it. Beside each error stands what does it: the same button once more, or another. */
const remedies: Record<string, string> = {
  unreachable: "Check the network and that the hub runs, then try again.",
  connection_lost: "Try again.",
  stream_closed: "Start another session.",
  session_ended: "Start another session.",
  insufficient_scope: "Ask whoever gave you the link for one that may.",
  content_unread: "Open the whole, then answer.",
  session_limit: "Delete a session that is no longer needed, then try again.",
  connection_limit: "Close another tab of this hub.",
  queue_full: "Wait until the agent has worked off some messages, or stop it.",
  payload_too_large: "Make it shorter, or send it in parts.",
  unauthorized: "Sign in again.",
  internal: "Try again. If it stays, the hub's log says why.",
  unavailable: "Try again in a moment. If it stays, the hub's store is away.",
};

/** An error in words for the page: what happened, and what to do. */
export function errorText(error: unknown): string {
  if (!(error instanceof HubError)) return error instanceof Error ? error.message : String(error);
  const wait = error.retryAfterSeconds;
  const what = errorTexts[error.code] ?? sentence(prose(error.message));
  const then = remedies[error.code] ?? (wait === undefined ? "" : `Try again in ${Math.ceil(wait)} s.`);
  return then ? `${what} ${then}` : what;
}

function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** A number of bytes in words: `1.2 MiB`. */
export function sizeText(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  const [unit, size] = bytes < 1024 ** 2 ? ["KiB", bytes / 1024] : ["MiB", bytes / 1024 ** 2];
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
}
