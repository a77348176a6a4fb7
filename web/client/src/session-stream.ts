import { makeBackoff, type Backoff } from "./backoff.js";
import { makeCommandQueue } from "./commands.js";
import { makeCursor, type Cursor } from "./cursor.js";
import type { AnswerAction, FormContent } from "./elicitation.js";
import { HubError } from "./errors.js";
import type { ControlFrame, Decision, Delivery, MessageContent, SessionEvent } from "./events.js";
import { makeReader, type Reader } from "./reader.js";
import type { CloseReason, SessionStreamOptions, StreamItem, StreamState } from "./stream-options.js";
import type { Command, Connection, ConnectionEnd, StreamFrame, Transport, TransportKind } from "./transport.js";
import { uuid } from "./uuid.js";

// Close codes of sessionhub.v1. Those that are not here, 1001, 4408 and 4503
// among them, mean the same: try again, and resume.
const cut = 1006;
const messageTooBig = 1009;
const badFrame = 4400;
const tokenSpent = 4401;
const noSuchSession = 4404;
const sessionEnded = 4410;
const tooManyCommands = 4429;

/** Seconds. */
const tooManyCommandsFloor = 5;
/** Items that a `for await` loop may be behind. */
const readerLimit = 1_000;

/** A connection and what the stream knows about it. */
interface Link {
  readonly transport: Transport;
  connection?: Connection;
  /** Date.now() of its `connected`. */
  openedAt?: number;
  drain?: { reconnectAfterMs: number; reason?: string };
  /** Bounds the wait for `connected`. */
  timer?: ReturnType<typeof setTimeout>;
}

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
 * `for await (const item of stream)` gets what comes from then on; several loops
 * and handlers may read beside each other. A loop that falls behind makes the
 * stream pause, and loses nothing. Leaving a loop does not close the stream.
 *
 * Commands wait (64 at most) while there is no connection, and are sent again
 * after one broke before the answer; see CommandQueue. Their promises reject
 * with a HubError.
 */
export class SessionStream implements AsyncIterable<StreamItem> {
  readonly #options: SessionStreamOptions;
  readonly #backoff: Backoff;
  readonly #commands = makeCommandQueue();
  readonly #cursor: Cursor;
  readonly #readers = new Set<Reader<StreamItem>>();
  #pauses = 0;
  #token: string | undefined;
  #state: StreamState = { phase: "connecting" };
  #link: Link | undefined;
  /** Takes the link's place once it is connected: the way back to the socket, or the same way with a new token. */
  #spare: Link | undefined;
  #ended = false;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #upgradeTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #onAbort = () => this.close();

  constructor(options: SessionStreamOptions) {
    this.#options = options;
    this.#token = options.token;
    this.#backoff = makeBackoff(options.backoff);
    this.#cursor = makeCursor(options.after ?? "0");
    queueMicrotask(() => {
      if (options.signal?.aborted) this.close();
      if (this.#state.phase === "connecting") this.#open();
    });
    options.signal?.addEventListener("abort", this.#onAbort);
  }

  get state(): StreamState {
    return this.#state;
  }

  /** What it is connected by, or will try next. */
  get transport(): TransportKind {
    return (this.#link?.transport ?? this.#options.choice.next()).kind;
  }

  /** Where a new stream would have to start to go on after this one. */
  get after(): string {
    return this.#cursor.after();
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<StreamItem> {
    const reader = makeReader<StreamItem>(
      readerLimit,
      (paused) => this.rest(paused),
      () => this.#readers.delete(reader),
    );
    if (this.#state.phase === "closed") this.#endReader(reader, this.#state.reason);
    else this.#readers.add(reader);
    return reader;
  }

  /**
   * Sends a message. `messageId` is made here unless given; a repeat with the
   * same one is recognised by the hub. The answer's `delivery` is how it was
   * taken: a turn that cannot take it in makes `steer` a `queue`.
   */
  async sendMessage(
    content: MessageContent,
    messageId: string = uuid(),
    delivery?: Delivery,
  ): Promise<{ messageId: string; seq?: number; duplicate?: boolean; delivery?: Delivery }> {
    const data = await this.command({ type: "message", data: { content, messageId, delivery } });
    return { ...data, messageId };
  }

  /** Answers an approval by one of the options that the agent offered. */
  approve(interactionId: string, optionId: string): Promise<Record<string, unknown>> {
    return this.command({ type: "approve", data: { interactionId, optionId } });
  }

  /** Answers an approval by a decision; the hub chooses the agent's option that fits. */
  decide(interactionId: string, decision: Decision, reason?: string): Promise<Record<string, unknown>> {
    return this.command({ type: "approve", data: { interactionId, decision, reason } });
  }

  /** Answers a question of the agent. `content` goes with `accept` of a form: see `@sessionhub/client/form`. */
  answer(interactionId: string, action: AnswerAction, content?: FormContent): Promise<Record<string, unknown>> {
    return this.command({ type: "answer", data: { interactionId, action, content } });
  }

  /** Stops the turn of this message, or takes it back if it is queued; without one, whatever runs. */
  async cancel(messageId?: string): Promise<void> {
    await this.command({ type: "cancel", data: { messageId } });
  }

  /**
   * Ends a wait between attempts, or finds out whether the connection still
   * lives: the user asks for it, or the network is back.
   */
  reconnectNow(): void {
    if (this.#state.phase !== "offline") {
      this.#link?.connection?.check();
      return;
    }
    if (this.#pauses > 0) return;
    clearTimeout(this.#retryTimer);
    queueMicrotask(() => {
      if (this.#state.phase === "offline") this.#open();
    });
  }

  /**
   * Gives up the connection and the attempts at one: the browser knows that it
   * has no network. The next attempt follows soon, since a hub on this very machine
   * can still be reached.
   */
  networkLost(): void {
    if (!this.#link) return;
    this.#dropAll();
    this.#retry("no network");
  }

  /**
   * Gives the connection back, and with `false` takes one again. The log waits at the hub meanwhile, which is what it is
   * for. Calls count: the stream rests while anybody wants it to.
   */
  rest(resting: boolean, reason = "the reader is behind"): void {
    this.#pauses += resting ? 1 : -1;
    if (this.#isClosed()) return;
    if (this.#pauses === 0) this.reconnectNow();
    else if (resting && this.#link) {
      this.#dropAll();
      this.#wait(reason, 0);
    }
  }

  /** Ends the stream for good; unanswered commands reject. May be called twice. */
  close(reason: CloseReason = "closed"): void {
    this.#finish(reason);
  }

  /**
   * Sends any command, such as `rename`, and resolves with the data of its
   * answer. The methods above are for those that need more.
   */
  async command(command: Command): Promise<Record<string, unknown>> {
    if (this.#isClosed()) throw streamClosed();
    return this.#commands.add(command);
  }

  #open(unnoticed?: string): void {
    if (!unnoticed) this.#setState({ phase: "connecting" });
    if (this.#token === undefined) return void this.#replaceToken();
    const link: Link = { transport: this.#options.choice.next() };
    this.#link = link;
    this.#start(link);
  }

  #start(link: Link): void {
    const { choice, connectTimeoutMs = 3_000 } = this.#options;
    const replaceable = link.transport.kind === "websocket" && choice.better;
    link.timer = setTimeout(
      () => this.#breakOff(link, "no answer"),
      replaceable ? connectTimeoutMs : 3 * connectTimeoutMs,
    );
    try {
      link.connection = link.transport.open(this.#cursor.after(), this.#token!, {
        onFrame: (frame) => {
          if (link === this.#spare && frame.type === "connected") this.#promote(link);
          // A frame of a connection that was given up is not heard.
          if (link === this.#link) this.#receive(link, frame);
        },
        onReply: (reply) => this.#commands.answer(reply),
        onEnd: (end) => this.#onEnd(link, end),
      });
    } catch (error) {
      // A browser refuses some addresses outright, such as ws: from an https: page.
      this.#breakOff(link, String(error));
    }
  }

  #receive(link: Link, frame: StreamFrame): void {
    if (frame.sessionId) {
      this.#options.onShared?.(frame);
      return;
    }
    if (typeof frame.seq === "number") {
      const verdict = this.#cursor.accept(frame);
      if (verdict === "hole") this.#breakOff(link, "event missing");
      if (verdict !== "deliver") return;
      this.#ended = frame.type === "closed";
      this.#deliver(frame as SessionEvent);
      this.#options.onEvent?.(frame as SessionEvent);
      return;
    }

    const { choice } = this.#options;
    const { kind } = link.transport;
    const control = frame as ControlFrame;
    switch (control.type) {
      case "connected":
        this.#cursor.announce(control.data.epoch);
        if (link.openedAt !== undefined) break; // the log has gone on to another epoch; the connection is the same
        clearTimeout(link.timer);
        link.openedAt = Date.now();
        choice.connected(kind);
        this.#planUpgrade(kind);
        if (this.#state.phase !== "live") this.#setState({ phase: "replaying", transport: kind });
        this.#commands.attach((command) => link.connection!.send(command));
        break;
      case "caught_up":
        if (!this.#cursor.caughtUp(control.data.seq)) {
          this.#breakOff(link, "event missing");
          return;
        }
        this.#setState({ phase: "live", transport: kind });
        break;
      case "gap":
        this.#cursor.skip(control.data);
        this.#deliver(control);
        break;
      case "expiring":
        void this.#renew();
        break;
      case "draining":
        link.drain = control.data;
        break;
    }
    this.#options.onControl?.(control);
  }

  #deliver(item: StreamItem): void {
    for (const reader of this.#readers) reader.push(item);
  }

  /** Opens a connection beside the one in use. It starts at the same cursor, so nothing is lost or doubled. */
  #replace(transport: Transport): void {
    this.#drop(this.#spare);
    this.#spare = { transport };
    this.#start(this.#spare);
  }

  #promote(link: Link): void {
    this.#drop(this.#link);
    this.#link = link;
    this.#spare = undefined;
  }

  #drop(link: Link | undefined): void {
    clearTimeout(link?.timer);
    link?.connection?.close();
  }

  /** No connection is left, and nothing is planned. */
  #dropAll(): void {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#upgradeTimer);
    this.#drop(this.#link);
    this.#drop(this.#spare);
    this.#link = this.#spare = undefined;
    this.#commands.detach();
  }

  /** Once the socket is worth another try, it is tried beside the SSE stream. */
  #planUpgrade(kind: TransportKind): void {
    clearTimeout(this.#upgradeTimer);
    const { choice } = this.#options;
    const { better } = choice;
    if (kind !== "sse" || !better) return;
    this.#upgradeTimer = setTimeout(() => {
      // Another stream of the page may have found out in the meantime.
      if (choice.retryIn() > 0) this.#planUpgrade(kind);
      else if (!this.#spare) this.#replace(better);
    }, choice.retryIn());
  }

  /** Gives up a connection that cannot be trusted any more. */
  #breakOff(link: Link, reason: string): void {
    this.#drop(link);
    this.#onEnd(link, { code: cut, reason });
  }

  #onEnd(link: Link, end: ConnectionEnd): void {
    if (link === this.#link) void this.#lost(link, end);
    else if (link === this.#spare) {
      this.#drop(link);
      this.#spare = undefined;
      if (link.transport.kind === "websocket") {
        this.#options.choice.blocked();
        this.#planUpgrade("sse");
      }
    }
  }

  async #lost(link: Link, end: ConnectionEnd): Promise<void> {
    const { choice, probe, stableAfterMs = 10_000 } = this.#options;
    const lifeMs = link.openedAt === undefined ? undefined : Date.now() - link.openedAt;
    if (lifeMs !== undefined && lifeMs >= stableAfterMs) this.#backoff.reset();

    if (end.code === badFrame || end.code === messageTooBig) {
      // One of these commands was the cause; repeating them would go on for ever.
      const code = end.code === badFrame ? "invalid_request" : "payload_too_large";
      this.#commands.reject("in_flight", new HubError(code, end.reason || "refused by the hub"));
    }
    this.#dropAll();

    const {
      drain,
      transport: { kind },
    } = link;
    // A refusal, too, shows that SSE is no better than the socket was.
    if (kind === "sse") choice.failed(kind, lifeMs, false);
    if (this.#ended) return this.#finish("session_ended");
    if (end.waitMs !== undefined) return this.#wait(end.reason, end.waitMs);
    switch (end.code) {
      case noSuchSession:
        return this.#finish("not_found");
      case sessionEnded:
        return this.#finish("session_ended");
      case tokenSpent:
        return this.#replaceToken();
      case tooManyCommands:
        return this.#retry(end.reason || "too many commands", end.retryAfterSeconds ?? tooManyCommandsFloor);
    }
    if (drain) {
      // With a reason (its age) nobody is to notice, unless the next one takes long to open.
      // The hub spreads its clients itself; more jitter would only delay them.
      return this.#wait("the hub restarts", drain.reconnectAfterMs, drain.reason);
    }
    let hubAnswers = false;
    if (kind === "websocket" && lifeMs === undefined && probe) {
      // A refused handshake looks like any cut to a script, whatever the status was.
      this.#setState({ phase: "connecting" });
      const error = await probe(this.#token!);
      if (this.#isClosed()) return;
      if (error?.status === 404) return this.#finish("not_found");
      if (error?.status === 401) return this.#replaceToken();
      if (error?.retryAfterSeconds) return this.#retry(error.message, error.retryAfterSeconds);
      hubAnswers = error === undefined;
    }
    const broken = kind === "websocket" && (lifeMs === undefined || end.code === cut);
    if (broken && choice.failed(kind, lifeMs, hubAnswers) && this.#pauses === 0) return this.#open();
    this.#retry(end.reason || "the connection was lost", end.retryAfterSeconds);
  }

  async #replaceToken(): Promise<void> {
    this.#setState({ phase: "connecting" });
    const spent = this.#token;
    try {
      const token = await this.#options.renewToken?.();
      if (token === undefined) return this.#finish("unauthorized");
      this.#token = token;
    } catch (error) {
      const { status, message, retryAfterSeconds } = error as Partial<HubError>;
      if (status === 404) return this.#finish("not_found");
      if (status === 401 || status === 403) return this.#finish("unauthorized");
      // The hub could not be asked. The old token brings us back here.
      return this.#retry(message || "no new token", retryAfterSeconds);
    }
    if (this.#isClosed()) return;
    if (spent === undefined) this.#open();
    else this.#retry("the token has expired");
  }

  /** Renews the token of the open connection, ahead of time. Failing here is harmless: 4401 asks again. */
  async #renew(): Promise<void> {
    try {
      const token = await this.#options.renewToken?.();
      if (token === undefined || this.#isClosed()) return;
      this.#token = token;
      const transport = this.#link?.transport;
      if (transport?.kind === "sse") this.#replace(transport);
      else await this.command({ type: "auth", data: { token } });
    } catch {
      // As above.
    }
  }

  #retry(reason: string, floorSeconds = 0): void {
    this.#wait(reason, this.#backoff.next(1000 * floorSeconds));
  }

  /** Waits for the next attempt. `unnoticed` says why the state stays as it is. */
  #wait(reason: string, delayMs: number, unnoticed?: string): void {
    if (this.#isClosed()) return;
    clearTimeout(this.#retryTimer);
    if (!unnoticed || this.#pauses) this.#setState({ phase: "offline", retryAt: Date.now() + delayMs, reason });
    // While a reader is behind, only its catching up opens the next connection.
    if (this.#pauses === 0) this.#retryTimer = setTimeout(() => this.#open(unnoticed), delayMs);
  }

  #finish(reason: CloseReason): void {
    if (this.#isClosed()) return;
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#dropAll();
    this.#commands.reject("all", streamClosed());
    for (const reader of this.#readers) this.#endReader(reader, reason);
    this.#readers.clear();
    this.#setState({ phase: "closed", reason });
  }

  #endReader(reader: Reader<StreamItem>, reason: CloseReason): void {
    const bad = reason === "not_found" || reason === "unauthorized";
    reader.end(bad ? new HubError(reason, reason) : undefined);
  }

  #isClosed(): boolean {
    return this.#state.phase === "closed";
  }

  #setState(state: StreamState): void {
    const now = this.#state;
    if (this.#isClosed()) return;
    if (state.phase === now.phase && state.phase !== "offline" && transportOf(state) === transportOf(now)) return;
    this.#state = state;
    this.#options.onState?.(state);
  }
}

function streamClosed(): HubError {
  return new HubError("stream_closed", "the stream is closed");
}

function transportOf(state: StreamState): TransportKind | undefined {
  return "transport" in state ? state.transport : undefined;
}
