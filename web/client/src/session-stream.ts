import { Backoff, type BackoffOptions } from "./backoff.js";
import { CommandQueue } from "./commands.js";
import { Cursor } from "./cursor.js";
import { HubError } from "./errors.js";
import type { ControlData, ControlFrame, Decision, MessageContent, SessionEvent } from "./events.js";
import type { Connection, ConnectionEnd, StreamFrame, Transport } from "./transport.js";
import { uuid } from "./uuid.js";

/** Why a stream will not come back. */
export type CloseReason =
  /** `close()` was called. */
  | "closed"
  /** The session ended; the last event was `closed`. */
  | "session_ended"
  /** There is no such session, or no longer. */
  | "not_found"
  /** The token is spent, and `renewToken` gave no other. */
  | "unauthorized";

export type StreamState =
  | { phase: "connecting" }
  /** Connected, and reading what happened before. */
  | { phase: "replaying" }
  | { phase: "live" }
  /** Waits for the next attempt; `retryAt` as Date.now() counts. */
  | { phase: "offline"; retryAt: number; reason: string }
  | { phase: "closed"; reason: CloseReason };

/** What the hub says about the session when a connection never opened, which a browser hides. */
export type ProbeResult = "ok" | "unauthorized" | "not_found" | "unreachable";

export interface StreamHandlers {
  /**
   * Each event of the log after the start, in order, once. One with a `from`
   * that is not behind the previous event's `seq` replaces what was delivered
   * from `from` on.
   */
  onEvent(event: SessionEvent): void;
  /** Frames about the stream; `gap` names what could not be delivered, in its place among the events. */
  onControl?(frame: ControlFrame): void;
  onState?(state: StreamState): void;
}

export interface SessionStreamOptions extends StreamHandlers {
  transport: Transport;
  token: string;
  /** A cursor, a seq, or `latest`; `0`, everything that is kept, unless given. */
  after?: string;
  /** Asked for a new token when the present one is spent, or will be in a minute. None: the stream closes. */
  renewToken?(): Promise<string | undefined>;
  /** Asked when a connection ended before it opened; must not reject. Without it, every such end is retried. */
  probe?(token: string): Promise<ProbeResult>;
  backoff?: BackoffOptions;
  /** A connection that lasted this long was a good one: the back-off starts again. Milliseconds. */
  stableAfterMs?: number;
}

// Close codes of sessionhub.v1. Those that are not here, 1001, 1006, 4408 and
// 4503 among them, mean the same: try again, and resume.
const messageTooBig = 1009;
const badFrame = 4400;
const tokenSpent = 4401;
const noSuchSession = 4404;
const sessionEnded = 4410;
const tooManyCommands = 4429;

const tooManyCommandsFloorMs = 5_000;

/**
 * SessionStream follows one session over as many connections as it takes, and
 * sends commands on them. It starts at once and goes on until `close()`, the
 * session's end, or a token that cannot be renewed.
 *
 * Events are delivered in order, once, without a hole: a repeat is dropped, and
 * a hole makes it reconnect from its cursor. Handlers are called one after the
 * other and, but for the state that `close()` sets, never from within a call of
 * a method here. What a handler throws reaches the host's error reporting and
 * does not stop the stream.
 *
 * Commands wait (64 at most) while there is no connection, and are sent again
 * after one broke before the answer; see CommandQueue. Their promises reject
 * with a HubError.
 */
export class SessionStream {
  readonly #options: SessionStreamOptions;
  readonly #backoff: Backoff;
  readonly #stableAfterMs: number;
  readonly #commands = new CommandQueue();
  readonly #cursor: Cursor;
  #token: string;
  #state: StreamState = { phase: "connecting" };
  #connection: Connection | undefined;
  /** Date.now() of the present connection's `connected`. */
  #openedAt: number | undefined;
  #drainMs: number | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: SessionStreamOptions) {
    this.#options = options;
    this.#token = options.token;
    this.#backoff = new Backoff(options.backoff);
    this.#stableAfterMs = options.stableAfterMs ?? 10_000;
    this.#cursor = new Cursor(options.after ?? "0");
    queueMicrotask(() => {
      if (this.#state.phase === "connecting") this.#open();
    });
  }

  get state(): StreamState {
    return this.#state;
  }

  get transport(): Transport["kind"] {
    return this.#options.transport.kind;
  }

  /** Where a new stream would have to start to go on after this one. */
  get after(): string {
    return this.#cursor.after;
  }

  /**
   * Sends a message. `messageId` is made here unless given; a repeat with the
   * same one is recognised by the hub.
   */
  async sendMessage(
    content: MessageContent,
    messageId: string = uuid(),
  ): Promise<{ messageId: string; seq?: number; duplicate?: boolean }> {
    const data = await this.#command({ type: "message", data: { content, messageId } });
    return { ...data, messageId };
  }

  /** Answers an approval by one of the options that the agent offered. */
  approve(interactionId: string, optionId: string): Promise<Record<string, unknown>> {
    return this.#command({ type: "approve", data: { interactionId, optionId } });
  }

  /** Answers an approval by a decision; the hub chooses the agent's option that fits. */
  decide(
    interactionId: string,
    decision: Decision,
    reason?: string,
  ): Promise<Record<string, unknown>> {
    const data = { interactionId, decision, ...(reason === undefined ? {} : { reason }) };
    return this.#command({ type: "approve", data });
  }

  /** Stops the turn of this message, or takes it back if it is queued; without one, whatever runs. */
  async cancel(messageId?: string): Promise<void> {
    await this.#command({ type: "cancel", data: messageId === undefined ? {} : { messageId } });
  }

  /** Ends a wait between attempts: the user asks for it, or the network is back. */
  reconnectNow(): void {
    if (this.#state.phase !== "offline") return;
    clearTimeout(this.#retryTimer);
    queueMicrotask(() => {
      if (this.#state.phase === "offline") this.#open();
    });
  }

  /** Ends the stream for good; unanswered commands reject. May be called twice. */
  close(): void {
    this.#finish("closed");
  }

  #command(command: Parameters<CommandQueue["add"]>[0]): Promise<Record<string, unknown>> {
    if (this.#state.phase === "closed") {
      return Promise.reject(new HubError("stream_closed", "the session's stream is closed"));
    }
    return this.#commands.add(command);
  }

  #open(): void {
    this.#setState({ phase: "connecting" });
    this.#openedAt = undefined;
    this.#drainMs = undefined;
    // An end or a frame of a connection that was given up is not heard.
    const current = () => this.#connection === connection;
    let connection: Connection;
    try {
      connection = this.#options.transport.open(this.#cursor.after, this.#token, {
        onFrame: (frame) => current() && this.#receive(connection, frame),
        onReply: (reply) => current() && this.#commands.answer(reply),
        onEnd: (end) => current() && void this.#ended(end),
      });
    } catch (error) {
      // A browser refuses some addresses outright, such as ws: from an https: page.
      return this.#retry(error instanceof Error ? error.message : String(error));
    }
    this.#connection = connection;
  }

  #receive(connection: Connection, frame: StreamFrame): void {
    if (typeof frame.seq === "number") {
      const verdict = this.#cursor.accept(frame);
      if (verdict === "deliver") this.#options.onEvent(frame as SessionEvent);
      else if (verdict === "hole") this.#breakOff("an event is missing");
      return;
    }

    const control = frame as ControlFrame;
    switch (control.type) {
      case "connected":
        this.#openedAt = Date.now();
        this.#cursor.announce(control.data.epoch);
        this.#setState({ phase: "replaying" });
        this.#commands.attach((command) => connection.send(command));
        break;
      case "caught_up":
        if (!this.#cursor.caughtUp(control.data.seq)) {
          this.#breakOff("an event is missing");
          return;
        }
        this.#setState({ phase: "live" });
        break;
      case "gap":
        this.#cursor.skip(control.data);
        break;
      case "expiring":
        void this.#renew();
        break;
      case "draining":
        this.#drainMs = control.data.reconnectAfterMs;
        break;
    }
    if (isControl(control)) this.#options.onControl?.(control);
  }

  /** Gives up a connection that cannot be trusted any more, and resumes on another. */
  #breakOff(reason: string): void {
    this.#connection?.close();
    void this.#ended({ code: 1006, reason });
  }

  async #ended(end: ConnectionEnd): Promise<void> {
    const opened = this.#openedAt;
    const drainMs = this.#drainMs;
    this.#connection = undefined;
    if (opened !== undefined && Date.now() - opened >= this.#stableAfterMs) this.#backoff.reset();

    if (end.code === badFrame || end.code === messageTooBig) {
      // One of these commands was the cause; repeating them would go on for ever.
      const code = end.code === badFrame ? "invalid_request" : "payload_too_large";
      this.#commands.reject("in_flight", new HubError(code, end.reason || "refused by the hub"));
    }
    this.#commands.detach();

    switch (end.code) {
      case noSuchSession:
        return this.#finish("not_found");
      case sessionEnded:
        return this.#finish("session_ended");
      case tokenSpent:
        return this.#replaceToken();
      case tooManyCommands:
        return this.#retry(end.reason || "too many commands", tooManyCommandsFloorMs);
    }
    if (drainMs !== undefined) {
      // The hub spreads its clients itself; more jitter would only delay them.
      return this.#wait("the hub restarts", drainMs);
    }
    if (opened === undefined && this.#options.probe) {
      // A refused handshake looks like any cut to a script, whatever the status was.
      const result = await this.#unlessReplaced(this.#options.probe(this.#token));
      if (result === "replaced") return;
      if (result === "not_found") return this.#finish("not_found");
      if (result === "unauthorized") return this.#replaceToken();
    }
    this.#retry(end.reason || "the connection was lost");
  }

  async #replaceToken(): Promise<void> {
    let token: string | undefined | "replaced";
    try {
      token = await this.#unlessReplaced(this.#options.renewToken?.() ?? Promise.resolve(undefined));
    } catch {
      // The hub could not be asked. The old token brings us back here.
      return this.#retry("no new token could be had");
    }
    if (token === "replaced") return;
    if (token === undefined) return this.#finish("unauthorized");
    this.#token = token;
    this.#retry("the token has expired");
  }

  /** Renews the token of the open connection, ahead of time. Failing here is harmless: 4401 asks again. */
  async #renew(): Promise<void> {
    try {
      const token = await this.#options.renewToken?.();
      if (token === undefined || this.#isClosed()) return;
      this.#token = token;
      await this.#command({ type: "auth", data: { token } });
    } catch {
      // As above.
    }
  }

  /** Waits for an answer during which the stream may have been closed. */
  async #unlessReplaced<T>(answer: Promise<T>): Promise<T | "replaced"> {
    this.#setState({ phase: "connecting" });
    const value = await answer;
    return this.#isClosed() ? "replaced" : value;
  }

  #retry(reason: string, floorMs = 0): void {
    this.#wait(reason, this.#backoff.next(floorMs));
  }

  #wait(reason: string, delayMs: number): void {
    if (this.#isClosed()) return;
    this.#setState({ phase: "offline", retryAt: Date.now() + delayMs, reason });
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#open(), delayMs);
  }

  #finish(reason: CloseReason): void {
    if (this.#isClosed()) return;
    clearTimeout(this.#retryTimer);
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.close();
    this.#commands.reject("all", new HubError("stream_closed", "the session's stream is closed"));
    this.#setState({ phase: "closed", reason });
  }

  #isClosed(): boolean {
    return this.#state.phase === "closed";
  }

  #setState(state: StreamState): void {
    if (this.#isClosed()) return;
    if (state.phase === this.#state.phase && state.phase !== "offline") return;
    this.#state = state;
    this.#options.onState?.(state);
  }
}

const controlTypes: Record<keyof ControlData, true> = {
  connected: true,
  caught_up: true,
  gap: true,
  expiring: true,
  draining: true,
};

function isControl(frame: { type: string }): frame is ControlFrame {
  return Object.hasOwn(controlTypes, frame.type);
}
