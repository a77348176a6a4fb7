import type { GapData } from "./events.js";
import type { StreamFrame } from "./transport.js";

/**
 * What to do with an event. `deliver`: hand it on. `repeat`: it was seen.
 * `hole`: something before it is missing, so it must not be handed on.
 */
export type Verdict = "deliver" | "repeat" | "hole";

/**
 * Cursor is a reader's position in a session's log, `<epoch>-<seq>`, and the
 * rule that keeps the reader's promise: every event once, in order, with no
 * hole in silence.
 */
export class Cursor {
  #start: string;
  #epoch: string | undefined;
  #announcedEpoch: string | undefined;
  #last: number | undefined;

  /** `after`: a cursor, a bare seq, or `latest`. */
  constructor(after: string) {
    this.#start = after;
    const parts = /^(?:(.+)-)?(\d+)$/.exec(after);
    if (parts) {
      this.#epoch = parts[1];
      this.#last = Number(parts[2]);
    }
  }

  /** Where to resume, in the form that the server takes. */
  get after(): string {
    if (this.#last === undefined) return this.#start;
    return this.#epoch === undefined ? String(this.#last) : `${this.#epoch}-${this.#last}`;
  }

  /** The last event's seq; undefined before the first after `latest`. */
  get last(): number | undefined {
    return this.#last;
  }

  /**
   * A stream has begun and names its epoch. It is adopted with the next frame
   * only: if the connection broke between this frame and the `gap` that
   * follows a change of epoch, a cursor with the new epoch would make the
   * server believe that the gap was seen.
   */
  announce(epoch: string): void {
    this.#announcedEpoch = epoch;
  }

  accept(frame: StreamFrame): Verdict {
    const seq = frame.seq as number;
    if (this.#last !== undefined) {
      if (seq <= this.#last) return "repeat";
      if ((frame.from ?? seq) > this.#last + 1) return "hole";
    }
    this.#last = seq;
    this.#adopt();
    return "deliver";
  }

  /** Replay is over at `seq`. False: events before it are missing. */
  caughtUp(seq: number): boolean {
    if (this.#last !== undefined && seq > this.#last) return false;
    this.#last ??= seq;
    this.#adopt();
    return true;
  }

  /** Moves over what the log no longer has. */
  skip(gap: GapData): void {
    if (gap.reason === "trimmed") {
      this.#last = Math.max(gap.toSeq, this.#last ?? 0);
    } else {
      this.#last = gap.fromSeq - 1;
      this.#announcedEpoch = gap.epoch;
    }
    this.#adopt();
  }

  #adopt(): void {
    this.#epoch = this.#announcedEpoch ?? this.#epoch;
  }
}
