import {
  sseTransport,
  type Connection,
  type ConnectionEnd,
  type ConnectionHandlers,
  type History,
  type HubApi,
  type HubError,
  type StreamFrame,
  type Transport,
} from "@sessionhub/client";

// All times are in milliseconds.

/** A stream that did not begin by then, of a hub that answers otherwise, waits for one of the browser's connections. */
const stallMs = 1_500;
/** How long a page that found no connection does without, before it tries again. */
const withoutMs = 30_000;
/** A page that is out of sight for so long gives its connection back. */
const hiddenMs = 5_000;
const watchedPollMs = 1_000;
const hiddenPollMs = 5_000;
/** A stream on which nothing came for so long is compared with the hub's own state. */
const quietMs = 1_000;
const beatMs = 250;
const answerMs = 1_500;
const pageSize = 500;

/** What the hub's status says, in the words of the WebSocket's close codes. */
const closeCodes: Record<number, number> = { 401: 4401, 404: 4404, 429: 4429, 503: 4503 };
const cut = 1006;
const sessionEnded = 4410;

/**
 * Server-sent events for a page among others. Over HTTP/1.1 a browser has six
 * connections to a host for the streams of all its tabs. A page that finds none
 * free, or that nobody looks at, reads the log page by page instead: a second
 * behind at most, or five while it is out of sight. And a page that is looked at
 * asks the hub, while its stream is silent, whether it is right to be.
 */
export function thriftySse(api: HubApi, sessionId: string): Transport {
  const sse = sseTransport(api, sessionId);
  return {
    kind: "sse",
    open: (after, token, handlers) => new ThriftyConnection(api, sessionId, sse, after, token, handlers),
  };
}

class ThriftyConnection implements Connection {
  readonly #api: HubApi;
  readonly #sessionId: string;
  readonly #sse: Transport;
  readonly #token: string;
  readonly #handlers: ConnectionHandlers;
  readonly #stopped = new AbortController();

  /** Where to read on, in the form that the hub takes; and its seq. */
  #after: string;
  #seq: number;
  #epoch = "";
  /** The stream. It also sends the commands, and goes on to do so once it is closed. */
  #stream: Connection;
  #streaming = true;
  #heardAt = 0;
  /** The hub said at this time that there is more than the stream has brought. */
  #behindSince: number | undefined;
  #asking = false;
  #askedAt = 0;
  #hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  /** Ends the wait between two pages. */
  #wake: (() => void) | undefined;

  constructor(
    api: HubApi,
    sessionId: string,
    sse: Transport,
    after: string,
    token: string,
    handlers: ConnectionHandlers,
  ) {
    this.#api = api;
    this.#sessionId = sessionId;
    this.#sse = sse;
    this.#after = after;
    this.#seq = Number(/\d+$/.exec(after)?.[0] ?? 0);
    this.#token = token;
    this.#handlers = handlers;
    const beat = setInterval(() => this.#beat(), beatMs);
    this.#stopped.signal.addEventListener("abort", () => {
      clearInterval(beat);
      clearTimeout(this.#hiddenTimer);
      this.#wake?.();
      this.#stream.close();
    });
    document.addEventListener("visibilitychange", () => this.#seen(), { signal: this.#stopped.signal });
    this.#stream = this.#openStream();
    this.#seen();
  }

  send: Connection["send"] = (command) => this.#stream.send(command);

  check(): void {
    this.#wake?.();
    if (!this.#streaming) return;
    this.#stream.check();
    void this.#ask();
  }

  close(): void {
    this.#stopped.abort();
  }

  #end(end: ConnectionEnd): void {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort();
    this.#handlers.onEnd(end);
  }

  #fail(error: unknown): void {
    const { status, message, retryAfterSeconds } = error as HubError;
    this.#end({ code: closeCodes[status!] ?? cut, reason: message, retryAfterSeconds });
  }

  #openStream(): Connection {
    this.#streaming = true;
    this.#heardAt = 0;
    this.#behindSince = undefined;
    const stall = setTimeout(() => void this.#stalled(), stallMs);
    const stream = this.#sse.open(this.#after, this.#token, {
      onFrame: (frame) => {
        clearTimeout(stall);
        this.#heardAt = Date.now();
        this.#deliver(frame);
      },
      onReply: this.#handlers.onReply,
      onEnd: (end) => {
        clearTimeout(stall);
        if (this.#streaming && this.#stream === stream) this.#end(end);
      },
    });
    this.#stopped.signal.addEventListener("abort", () => clearTimeout(stall));
    return stream;
  }

  /** The frames of the log move the place at which to read on. */
  #deliver(frame: StreamFrame): void {
    const data = frame.data as { epoch: string; fromSeq: number; toSeq: number; reason: string; seq: number };
    if (frame.type === "connected") this.#epoch = data.epoch;
    else if (frame.seq !== undefined) this.#moveTo(frame.seq);
    else if (frame.type === "caught_up") this.#moveTo(data.seq);
    else if (frame.type === "gap") {
      if (data.reason === "epoch_changed") this.#epoch = data.epoch;
      this.#moveTo(data.reason === "epoch_changed" ? data.fromSeq - 1 : Math.max(data.toSeq, this.#seq));
    }
    this.#handlers.onFrame(frame);
  }

  #moveTo(seq: number): void {
    this.#seq = seq;
    this.#after = `${this.#epoch}-${seq}`;
  }

  #seen(): void {
    clearTimeout(this.#hiddenTimer);
    if (document.hidden)
      this.#hiddenTimer = setTimeout(() => this.#streaming && void this.#poll(() => document.hidden), hiddenMs);
    else this.#wake?.();
  }

  /** The stream has not begun. Where the hub answers a request, it is the browser that has no connection left for it. */
  async #stalled(): Promise<void> {
    try {
      await this.#api.getSession(this.#sessionId, { token: this.#token, signal: AbortSignal.timeout(answerMs) });
    } catch {
      return; // the hub is slow or away: whoever waits for this connection gives it up in time
    }
    if (this.#heardAt > 0 || !this.#streaming || this.#stopped.signal.aborted) return;
    const until = Date.now() + withoutMs;
    void this.#poll(() => Date.now() < until || document.hidden);
  }

  /** Reads pages of the log in place of the stream, for as long as `wanted` says so. */
  async #poll(wanted: () => boolean): Promise<void> {
    this.#streaming = false;
    this.#stream.close();
    const { signal } = this.#stopped;
    try {
      while (wanted() && !signal.aborted) {
        const query = { after: this.#after, limit: pageSize };
        const page = await this.#api.history(this.#sessionId, query, {
          token: this.#token,
          signal: AbortSignal.timeout(document.hidden ? 10 * answerMs : answerMs),
        });
        if (signal.aborted || this.#deliverPage(page)) continue;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
          setTimeout(resolve, document.hidden ? hiddenPollMs : watchedPollMs);
        });
      }
    } catch (error) {
      return this.#fail(error);
    }
    if (!signal.aborted) this.#stream = this.#openStream();
  }

  /** True: there is more at once. */
  #deliverPage(page: History): boolean {
    const time = new Date().toISOString();
    if (page.epoch !== this.#epoch) {
      const data = { sessionId: this.#sessionId, epoch: page.epoch, firstSeq: page.first, lastSeq: page.last };
      this.#deliver({ type: "connected", time, data });
    }
    if (page.gap) this.#deliver({ type: "gap", time, data: page.gap });
    for (const event of page.events) {
      this.#deliver(event);
      if (event.type === "closed") this.#end({ code: sessionEnded, reason: "" });
      if (this.#stopped.signal.aborted) return true;
    }
    if (page.nextAfter !== undefined && (page.events.length > 0 || page.gap)) return true;
    this.#deliver({ type: "caught_up", time, data: { seq: this.#seq } });
    return false;
  }

  #beat(): void {
    const quiet = Date.now() - Math.max(this.#heardAt, this.#askedAt) >= quietMs;
    if (quiet && !document.hidden && this.#streaming) void this.#ask();
  }

  /** Whether the hub answers, and whether the stream has brought all that it has. */
  async #ask(): Promise<void> {
    if (this.#asking || this.#heardAt === 0) return;
    this.#asking = true;
    this.#askedAt = Date.now();
    const heardAt = this.#heardAt;
    try {
      const { lastSeq, epoch } = await this.#api.getSession(this.#sessionId, {
        token: this.#token,
        signal: AbortSignal.timeout(answerMs),
      });
      const behind = epoch === this.#epoch && lastSeq > this.#seq && this.#heardAt === heardAt;
      if (!behind) this.#behindSince = undefined;
      else if (this.#behindSince === undefined) this.#behindSince = Date.now();
      else if (this.#streaming) this.#end({ code: cut, reason: "the stream is behind" });
    } catch (error) {
      // A refusal is an answer, and the stream's own end says what there is to say.
      const { status } = error as HubError;
      if (status === undefined && this.#streaming && this.#heardAt === heardAt)
        this.#end({ code: cut, reason: "the hub does not answer" });
    }
    this.#asking = false;
  }
}
