import type { GapData } from "./events.js";
import type { StreamFrame } from "./transport.js";

/**
 * What to do with an event. `deliver`: hand it on. `repeat`: it was seen.
 * `hole`: something before it is missing, so it must not be handed on.
 */
export type Verdict = "deliver" | "repeat" | "hole";

export interface Cursor {
  /** Where to resume, in the form that the server takes. */
  after(): string;
  /**
   * A stream has begun and names its epoch. It is adopted with the next frame
   * only: if the connection broke between this frame and the `gap` that
   * follows a change of epoch, a cursor with the new epoch would make the
   * server believe that the gap was seen.
   */
  announce(epoch: string): void;
  accept(frame: StreamFrame): Verdict;
  /** Replay is over at `seq`. False: events before it are missing. */
  caughtUp(seq: number): boolean;
  /** Moves over what the log no longer has. */
  skip(gap: GapData): void;
}

/**
 * A reader's position in a session's log, `<epoch>-<seq>`, and the rule that
 * keeps the reader's promise: every event once, in order, with no hole in
 * silence. `start`: a cursor, a bare seq, or `latest`.
 */
export function makeCursor(start: string): Cursor {
  const parts = /^(?:(.+)-)?(\d+)$/.exec(start);
  let epoch = parts?.[1];
  let announced: string | undefined;
  let last = parts ? Number(parts[2]) : undefined;

  const moveTo = (seq: number) => {
    last = seq;
    epoch = announced ?? epoch;
  };
  return {
    after: () => (last === undefined ? start : epoch === undefined ? String(last) : `${epoch}-${last}`),
    announce(name) {
      announced = name;
    },
    accept(frame) {
      const seq = frame.seq!;
      if (seq <= last!) return "repeat";
      if (last !== undefined && (frame.from ?? seq) > last + 1) return "hole";
      moveTo(seq);
      return "deliver";
    },
    caughtUp(seq) {
      if (seq > last!) return false;
      moveTo(last ?? seq);
      return true;
    },
    skip(gap) {
      if (gap.reason === "trimmed") return moveTo(Math.max(gap.toSeq, last ?? 0));
      announced = gap.epoch;
      moveTo(gap.fromSeq - 1);
    },
  };
}
