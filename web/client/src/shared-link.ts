import type { HubApi } from "./api.js";
import type { HubError } from "./errors.js";
import { takeSlot } from "./slots.js";
import { eventsOf, eventStream, readEvents, type EventReader } from "./sse.js";
import type { Connection, ConnectionHandlers, StreamFrame, Transport } from "./transport.js";
import { webSocketTransport, type WebSocketOptions } from "./websocket.js";

/** A session and where to begin in its log. */
export interface Subscription {
  sessionId: string;
  after: string;
}

/** What a connection is to carry, or no longer. */
export interface Change {
  sessions: Subscription[];
  gone: string[];
  /** The feed of the list; undefined: as it is. */
  list?: boolean | undefined;
}

export interface Refusal {
  sessionId: string;
  code: string;
  detail: string;
  /** Seconds. */
  retryAfter?: number;
}

/** One connection for many sessions. */
export interface SharedLink extends Connection {
  change(change: Change): void;
}

/** Whoever a connection works for. */
export interface Subscriber {
  /** All that it wants now. */
  wanted(): Change;
  refused(link: SharedLink, refusals: Refusal[]): void;
}

/** No request names more sessions. */
const most = 1_000;
/** Of the six connections that a browser has to a host over HTTP/1.1, for all its pages. */
const streamsOfAllPages = 4;
/** How long a page does without a stream after one did not begin. Milliseconds. */
const withoutMs = 30_000;
const pollMs = 1_000;
/** A page without a stream reads for at most one part of so many of the time. */
const pollShare = 5;
const changeTimeoutMs = 15_000;
const changeRetryMs = 1_000;
const cut = 1006;
const tokenSpent = 4401;

/** Cuts a change into requests. What is given up comes first. */
function* requests({ sessions, gone, list }: Change): Generator<{ subscribe: object; unsubscribe: object }> {
  const asked = list === undefined ? {} : { list: true };
  let subscribe: object = list ? asked : {};
  let unsubscribe: object = list === false ? asked : {};
  for (let from = 0; from < gone.length; from += most) {
    yield { subscribe: {}, unsubscribe: { ...unsubscribe, sessionIds: gone.slice(from, from + most) } };
    unsubscribe = {};
  }
  for (let from = 0; from < sessions.length; from += most) {
    yield { unsubscribe, subscribe: { ...subscribe, sessions: sessions.slice(from, from + most) } };
    subscribe = unsubscribe = {};
  }
  if ("list" in subscribe || "list" in unsubscribe) yield { subscribe, unsubscribe };
}

/** Tells the owner that the connection is ready, in the words of a session's stream. */
function begin({ onFrame }: ConnectionHandlers, link: SharedLink): void {
  onFrame({ type: "connected", data: { epoch: "", link } });
  onFrame({ type: "caught_up", data: { seq: 0 } });
}

/** Reaches the hub over `/api/ws`, whose address is `url`. */
export function sharedSocket(url: string, options: WebSocketOptions, subscriber: Subscriber): Transport {
  const socket = webSocketTransport(() => url, options);
  return {
    kind: "websocket",
    open(after, token, handlers) {
      /** The sessions of each command that has no answer. */
      const asked = new Map<string, Subscription[]>();
      let count = 0;
      const connection = socket.open(after, token, {
        onEnd: handlers.onEnd,
        onFrame(frame) {
          if (frame.type !== "ready") return handlers.onFrame(frame);
          begin(handlers, link);
          link.change(subscriber.wanted());
        },
        onReply(reply) {
          const sessions = asked.get(reply.id);
          if (!sessions) return handlers.onReply(reply);
          asked.delete(reply.id);
          if (reply.type === "ack") {
            subscriber.refused(link, (reply.data?.["refused"] as Refusal[]) ?? []);
          } else {
            const { code, detail = code, retryAfter = 1 } = reply.error;
            subscriber.refused(
              link,
              sessions.map(({ sessionId }) => ({ sessionId, code, detail, retryAfter })),
            );
          }
        },
      });
      const send = (type: string, data: { sessions?: Subscription[] }) => {
        if (Object.keys(data).length === 0) return;
        const id = `${type}${++count}`;
        asked.set(id, data.sessions ?? []);
        connection.send({ type, id, data } as never);
      };
      const link: SharedLink = {
        ...connection,
        change(change) {
          for (const { subscribe, unsubscribe } of requests(change)) {
            send("unsubscribe", unsubscribe);
            send("subscribe", subscribe);
          }
        },
      };
      return link;
    },
  };
}

export interface SharedEventsOptions {
  /** Of the routes, with its `?`. */
  query: string;
  /** The page is signed in by a cookie, which the stream has to send. */
  cookie?: boolean | undefined;
  /** Names what the pages share: the hub. */
  name: string;
}

/**
 * Reaches the hub over `/api/events`. Over HTTP/1.1 a browser has six connections to a host,
 * for all its pages. So no more than four pages hold a stream. Any other opens one, reads
 * what has come, closes it, and again: its sessions are a second behind.
 */
export function sharedEvents(api: HubApi, options: SharedEventsOptions, subscriber: Subscriber): Transport {
  let withoutUntil = 0;
  return {
    kind: "sse",
    open: (_, token, handlers) => {
      const link = new EventsLink(api, options, subscriber, token, handlers, withoutUntil > Date.now(), () => {
        withoutUntil = Date.now() + withoutMs;
      });
      return link;
    },
  };
}

class EventsLink implements SharedLink {
  readonly #api: HubApi;
  readonly #options: SharedEventsOptions;
  readonly #subscriber: Subscriber;
  readonly #token: string;
  readonly #handlers: ConnectionHandlers;
  /** Called when a stream is given up that did not begin. */
  readonly #onStall: () => void;
  #reader: EventReader | undefined;
  #ended = false;
  #begun = false;
  /** Of the stream that is open, once it is ready. */
  #connection: string | undefined;
  #streaming = false;
  /** What a poll has yet to hear of: sessions that are not caught up, and the list. */
  readonly #pending = new Set<string>();
  #dirty = false;
  #wake: (() => void) | undefined;
  /** Changes go one after the other. */
  #changes: Promise<void> = Promise.resolve();

  constructor(
    api: HubApi,
    options: SharedEventsOptions,
    subscriber: Subscriber,
    token: string,
    handlers: ConnectionHandlers,
    without: boolean,
    onStall: () => void,
  ) {
    this.#api = api;
    this.#options = options;
    this.#subscriber = subscriber;
    this.#token = token;
    this.#handlers = handlers;
    this.#onStall = onStall;
    void this.#run(without);
  }

  /** The only command of the connection is `auth`, and an event stream begins anew with a new token instead. */
  send(): void {}

  check(): void {
    this.#wake?.();
    this.#reader?.check();
  }

  close(): void {
    if (this.#streaming && !this.#begun) this.#onStall();
    this.#ended = true;
    this.#reader?.close();
    this.#wake?.();
  }

  change(change: Change): void {
    if (!this.#streaming) {
      this.#dirty = true;
      this.#wake?.();
      return;
    }
    for (const request of requests(change)) this.#changes = this.#changes.then(() => this.#post(request));
  }

  async #run(without: boolean): Promise<void> {
    while (!this.#ended) {
      const release = without ? undefined : await takeSlot(this.#options.name, streamsOfAllPages);
      const began = Date.now();
      if (!this.#ended) await this.#open(release !== undefined);
      release?.();
      // A stream that is over has told its owner.
      if (release) return;
      await this.#rest(Math.max(pollMs, pollShare * (Date.now() - began)));
    }
  }

  /** Waits between two polls. */
  async #rest(ms: number): Promise<void> {
    if (this.#ended || this.#dirty) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, ms);
    });
  }

  /** Opens a stream. Resolves when it has ended, or, for a poll, has brought what there was. */
  #open(streaming: boolean): Promise<void> {
    const { sessions, list } = this.#subscriber.wanted();
    const first = sessions.slice(0, most);
    this.#streaming = streaming;
    this.#dirty = false;
    this.#connection = undefined;
    this.#pending.clear();
    if (!streaming) {
      for (const { sessionId } of sessions) this.#pending.add(sessionId);
      if (list) this.#pending.add("");
    }
    return new Promise((resolve) => {
      const reader = readEvents((signal) => this.#request({ sessions: first, list }, signal), {
        onEnd: (end) => {
          this.#end(end.code, end.reason, end.retryAfterSeconds);
          resolve();
        },
        onFrame: (frame) => {
          if (frame.type === "ready") this.#ready(frame, first);
          else this.#receive(frame);
          if (this.#ended || (!streaming && this.#connection && this.#pending.size === 0)) {
            reader.close();
            resolve();
          }
        },
      });
      const { close } = reader;
      this.#reader = {
        ...reader,
        close() {
          close();
          resolve();
        },
      };
    });
  }

  async #request(body: object, signal: AbortSignal): Promise<ReadableStream<Uint8Array> | undefined> {
    const { cookie, query } = this.#options;
    // A browser has as many connections again for requests without credentials. A poll takes one of the others.
    const headers: Record<string, string> = cookie || !this.#streaming ? {} : { Accept: eventStream };
    return eventsOf(await this.#api.send("POST", `events${query}`, { token: this.#token, signal }, body, headers));
  }

  #ready(frame: StreamFrame, first: Subscription[]): void {
    this.#connection = (frame.data as { connection: string }).connection;
    if (!this.#begun) {
      this.#begun = true;
      begin(this.#handlers, this);
    }
    const has = new Set(first.map(({ sessionId }) => sessionId));
    const { sessions } = this.#subscriber.wanted();
    const rest = sessions.filter(({ sessionId }) => !has.delete(sessionId));
    const change = { sessions: rest, gone: [...has] };
    for (const request of requests(change)) this.#changes = this.#changes.then(() => this.#post(request));
  }

  #receive(frame: StreamFrame): void {
    const { type, sessionId = "" } = frame;
    if (type === "refused") this.#subscriber.refused(this, [frame.data as Refusal]);
    else this.#handlers.onFrame(frame);
    if (/^(caught_up|unsubscribed|refused|list_complete)$/.test(type)) this.#pending.delete(sessionId);
  }

  #end(code: number, reason: string, retryAfterSeconds?: number): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#reader?.close();
    this.#handlers.onEnd({ code, reason, retryAfterSeconds });
  }

  /** Sends one change, until it is answered or the connection ends. */
  async #post(request: { subscribe: { sessions?: Subscription[]; list?: boolean } } & object): Promise<void> {
    const connection = this.#connection;
    while (!this.#ended && connection !== undefined && connection === this.#connection) {
      try {
        const route = `events/${encodeURIComponent(connection)}${this.#options.query}`;
        const options = { token: this.#token, signal: AbortSignal.timeout(changeTimeoutMs) };
        const { refused = [] } = (await (await this.#api.send("POST", route, options, request)).json()) as {
          refused?: Refusal[];
        };
        for (const { sessionId } of refused) this.#pending.delete(sessionId);
        return this.#subscriber.refused(this, refused);
      } catch (error) {
        const { status, code, message, retryAfterSeconds = 1 } = error as HubError;
        if (connection !== this.#connection) return;
        if (status === 401) return this.#end(tokenSpent, message);
        // The stream has ended, and that has not come through yet.
        if (status === 404) return this.#end(cut, message);
        if (status !== undefined && status < 500 && status !== 408 && status !== 429) {
          const sessions = request.subscribe.sessions ?? [];
          for (const { sessionId } of sessions) this.#pending.delete(sessionId);
          return this.#subscriber.refused(
            this,
            sessions.map(({ sessionId }) => ({ sessionId, code, detail: message, retryAfter: retryAfterSeconds })),
          );
        }
        await new Promise((resolve) => setTimeout(resolve, changeRetryMs * (0.5 + Math.random())));
      }
    }
  }
}
