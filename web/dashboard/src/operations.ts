import type { Provider, Session, SessionStatus, Stats } from "@sessionhub/client";
import { waitingQuestions } from "./format.js";

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
  /** The node that answered for the delivery times. */
  node: string;
  /**
   * 99 of 100 deliveries since the reading before took at most this: the bound of
   * a bucket, milliseconds. NaN: there were none, or another process answered then.
   */
  deliveryP99Ms: number;
  /** How long the hub took to answer. Milliseconds. */
  answerMs: number;
}

export const statuses: SessionStatus[] = [
  "running",
  "requires_action",
  "starting",
  "queued",
  "idle",
  "ended",
  "failed",
];

interface Reading {
  time: number;
  lastSeqs: Map<string, number>;
  stats: Stats;
}

/**
 * Sampler makes samples from what the API tells a key of its sessions. Events
 * are counted by how far the logs have grown, so a session that is deleted
 * between two readings takes its last events with it.
 */
export class Sampler {
  #last: Reading | undefined;

  sample(
    time: number,
    answerMs: number,
    sessions: readonly Session[],
    providers: readonly Provider[],
    stats: Stats,
  ): Sample {
    const last = this.#last;
    const lastSeqs = new Map(sessions.map((session) => [session.sessionId, session.lastSeq]));
    this.#last = { time, lastSeqs, stats };

    const byStatus = Object.fromEntries(statuses.map((status) => [status, 0])) as Record<SessionStatus, number>;
    let websocket = 0;
    let sse = 0;
    let pendingApprovals = 0;
    let events = 0;
    for (const session of sessions) {
      byStatus[session.status] = (byStatus[session.status] ?? 0) + 1;
      websocket += session.connections.websocket;
      sse += session.connections.sse;
      pendingApprovals += waitingQuestions(session);
      const before =
        last?.lastSeqs.get(session.sessionId) ??
        (last && Date.parse(session.createdAt) < last.time ? session.lastSeq : 0);
      events += Math.max(0, session.lastSeq - before);
    }
    const seconds = last ? (time - last.time) / 1000 : 0;
    return {
      time,
      answerMs,
      node: stats.node,
      deliveryP99Ms: deliveryP99Ms(last?.stats, stats),
      websocket,
      sse,
      pendingApprovals,
      byStatus,
      eventsPerSecond: seconds > 0 ? events / seconds : 0,
      workers: Object.fromEntries(providers.map(({ name, workers }) => [name, workers])),
    };
  }
}

function deliveryP99Ms(before: Stats | undefined, now: Stats): number {
  if (before?.node !== now.node || before.startedAt !== now.startedAt) return NaN;
  const counts = now.delivery.map(({ count }, index) => count - (before.delivery[index]?.count ?? 0));
  const wanted = 0.99 * counts.reduce((sum, count) => sum + count, 0);
  if (wanted <= 0) return NaN;
  let seen = 0;
  const at = counts.findIndex((count) => {
    seen += count;
    return seen >= wanted;
  });
  // Slower than all bounds: the last of them is all that is known.
  return (now.delivery[at]?.upToMicros ?? now.delivery.at(-2)?.upToMicros ?? NaN) / 1000;
}

/** The line through values in a box, as an SVG path, with a break where there is none (NaN). `top` is the value at its upper edge. */
export function linePath(
  values: readonly number[],
  length: number,
  top: number,
  width: number,
  height: number,
): string {
  const step = width / Math.max(1, length - 1);
  const first = length - values.length;
  let path = "";
  for (const [index, value] of values.entries()) {
    if (Number.isNaN(value)) continue;
    const point = `${((first + index) * step).toFixed(1)},${(height - (height * value) / top).toFixed(1)}`;
    // One alone is a dot: a line to itself.
    path += index > 0 && !Number.isNaN(values[index - 1]) ? `L${point}` : `M${point}L${point}`;
  }
  return path;
}

/** A round number that is not below the greatest value. */
export function niceTop(greatest: number): number {
  if (!(greatest > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(greatest));
  return [1, 2, 5, 10].map((factor) => factor * power).find((top) => top >= greatest)!;
}
