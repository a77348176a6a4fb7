import { HubError, type Session, type SessionStatus } from "@sessionhub/client";

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

/** What to call a session: its title, else its directory's name. */
export function sessionName(session: Pick<Session, "title" | "workingDirectory" | "sessionId">): string {
  const directory = session.workingDirectory?.split("/").filter(Boolean).at(-1);
  return session.title || directory || session.sessionId;
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

/** An error in words for the page. */
export function errorText(error: unknown): string {
  if (!(error instanceof HubError)) return error instanceof Error ? error.message : String(error);
  switch (error.code) {
    case "unreachable":
      return "The hub does not answer.";
    case "session_ended":
      return "The session has ended.";
    case "approval_resolved":
      return "Somebody else answered this already.";
    case "connection_lost":
      return "The connection broke before the hub answered.";
    case "stream_closed":
      return "The session's stream is closed.";
    case "insufficient_scope":
      return "This token may not do that.";
  }
  const wait = error.retryAfterSeconds;
  return wait === undefined ? error.message : `${error.message} (again in ${Math.ceil(wait)} s)`;
}
