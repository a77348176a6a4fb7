import type { Provider, Session, SessionStatus } from "@sessionhub/client";

/** What the hub did between two readings, and how it stood at the second. */
export interface Sample {
  /** Date.now() of the reading. */
  time: number;
  websocket: number;
  sse: number;
  eventsPerSecond: number;
  byStatus: Record<SessionStatus, number>;
  pendingApprovals: number;
  workers: Record<string, number>;
  /** How long the hub took to answer. Milliseconds. */
  answerMs: number;
}

export const statuses: SessionStatus[] = ["running", "requires_action", "starting", "queued", "idle", "ended", "failed"];

interface Reading {
  time: number;
  lastSeqs: Map<string, number>;
}

/**
 * Sampler makes samples from what the API tells a key of its sessions. Events
 * are counted by how far the logs have grown, so a session that is deleted
 * between two readings takes its last events with it.
 */
export class Sampler {
  #last: Reading | undefined;

  sample(time: number, answerMs: number, sessions: readonly Session[], providers: readonly Provider[]): Sample {
    const last = this.#last;
    const lastSeqs = new Map(sessions.map((session) => [session.sessionId, session.lastSeq]));
    this.#last = { time, lastSeqs };

    const byStatus = Object.fromEntries(statuses.map((status) => [status, 0])) as Record<SessionStatus, number>;
    let websocket = 0;
    let sse = 0;
    let pendingApprovals = 0;
    let events = 0;
    for (const session of sessions) {
      byStatus[session.status] = (byStatus[session.status] ?? 0) + 1;
      websocket += session.connections.websocket;
      sse += session.connections.sse;
      pendingApprovals += session.pendingApprovals;
      const before = last?.lastSeqs.get(session.sessionId) ?? (last && Date.parse(session.createdAt) < last.time ? session.lastSeq : 0);
      events += Math.max(0, session.lastSeq - before);
    }
    const seconds = last ? (time - last.time) / 1000 : 0;
    return {
      time,
      answerMs,
      websocket,
      sse,
      pendingApprovals,
      byStatus,
      eventsPerSecond: seconds > 0 ? events / seconds : 0,
      workers: Object.fromEntries(providers.map(({ name, workers }) => [name, workers])),
    };
  }
}

/** The points of a line in a box, for SVG. `top` is the value at its upper edge. */
export function linePoints(values: readonly number[], length: number, top: number, width: number, height: number): string {
  const step = width / Math.max(1, length - 1);
  const first = length - values.length;
  return values.map((value, index) => `${((first + index) * step).toFixed(1)},${(height - (height * value) / top).toFixed(1)}`).join(" ");
}

/** A round number that is not below the greatest value. */
export function niceTop(greatest: number): number {
  if (!(greatest > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(greatest));
  return [1, 2, 5, 10].map((factor) => factor * power).find((top) => top >= greatest)!;
}
