import type { BackoffOptions } from "./backoff.js";
import type { TransportChoice } from "./choice.js";
import type { HubError } from "./errors.js";
import type { ControlFrame, SessionEvent } from "./events.js";
import type { StreamFrame, TransportKind } from "./transport.js";

/** Why a stream will not come back. */
export type CloseReason =
  /** `close()` was called, or the signal aborted. */
  | "closed"
  /** The session ended; the last event was `closed`. */
  | "session_ended"
  /** There is no such session, or no longer. */
  | "not_found"
  /** The token is spent, and there is no other. */
  | "unauthorized";

export type StreamState =
  | { phase: "connecting" }
  /** Connected, and reading what happened before. */
  | { phase: "replaying"; transport: TransportKind }
  | { phase: "live"; transport: TransportKind }
  /** Waits for the next attempt; `retryAt` as Date.now() counts. */
  | { phase: "offline"; retryAt: number; reason: string }
  | { phase: "closed"; reason: CloseReason };

export type GapFrame = Extract<ControlFrame, { type: "gap" }>;

/** What a `for await` loop over a stream gets: events, and a mark where some could not be had. */
export type StreamItem = SessionEvent | GapFrame;

export interface StreamHandlers {
  /**
   * Each event of the log after the start, in order, once. One with a `from`
   * that is not behind the previous event's `seq` replaces what was delivered
   * from `from` on.
   */
  onEvent?(event: SessionEvent): void;
  /** Frames about the stream; `gap` names what could not be delivered, in its place among the events. */
  onControl?(frame: ControlFrame): void;
  onState?(state: StreamState): void;
}

export interface SessionStreamOptions extends StreamHandlers {
  choice: TransportChoice;
  /** Without one, `renewToken` is asked for it first. */
  token?: string | undefined;
  /** A cursor, a seq, or `latest`; `0`, everything that is kept, unless given. */
  after?: string;
  /** Asked for a new token when the present one is spent, or will be in a minute. None: the stream closes. */
  renewToken?(): Promise<string | undefined>;
  /**
   * Asks the hub about the session over HTTP when a socket ended before it
   * opened, since a browser hides why. Resolves with the error, or with
   * nothing when all is well; must not reject.
   */
  probe?(token: string): Promise<HubError | undefined>;
  backoff?: BackoffOptions;
  /** A connection that lasted this long was a good one: the back-off starts again. Milliseconds. */
  stableAfterMs?: number;
  /** How long `connected` may take on a socket that SSE could replace; three times as long otherwise. Milliseconds. */
  connectTimeoutMs?: number | undefined;
  /** Gets the frames that name a session, which only a connection for many sessions has. */
  onShared?(frame: StreamFrame): void;
  /** Closes the stream. */
  signal?: AbortSignal | undefined;
}
