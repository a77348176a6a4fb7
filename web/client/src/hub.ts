import { transportChoice, type ChoiceOptions, type TransportChoice } from "./choice.js";
import { HubApi, HubError, SessionStream, type HubApiOptions } from "./index.js";
import type { ControlFrame } from "./events.js";
import { watchNetwork } from "./network.js";
import { makeListReader, type ListHandlers, type ListReader, type LiveList } from "./session-list.js";
import {
  sharedEvents,
  sharedSocket,
  type Change,
  type Refusal,
  type SharedLink,
  type Subscription,
} from "./shared-link.js";
import { postCommand } from "./sse.js";
import type { SessionStreamOptions, StreamState } from "./stream-options.js";
import type { ConnectionEnd, ConnectionHandlers, StreamFrame, Transport, TransportKind } from "./transport.js";
import { globalWebSocket, type WebSocketOptions } from "./websocket.js";

export type { ListChange, ListHandlers, LiveList } from "./session-list.js";

const cut = 1006;
const noSuchSession = 4404;
/** A session waits for its connection as long as that takes: the connection has its own limits. Milliseconds. */
const patienceMs = 700_000_000;
const probeMs = 5_000;

export interface HubOptions
  extends HubApiOptions,
    Pick<SessionStreamOptions, "backoff" | "connectTimeoutMs" | "renewToken" | "signal" | "stableAfterMs">,
    Pick<ChoiceOptions, "storage" | "retryWebSocketMs">,
    WebSocketOptions {
  /** A user's token. Without one, `apiKey` is used, or the page's cookie, or nothing at a hub in local mode. */
  token?: string;
  /** The page is signed in by a cookie. */
  cookie?: boolean;
  /** Whose sessions, for a service key. */
  userId?: string;
  transport?: "auto" | TransportKind | undefined;
  onState?(state: StreamState): void;
  /** A page that is out of sight for so long gives its connection back until it is seen again. 30,000 unless given. Milliseconds. */
  hiddenMs?: number;
  /** Asked then, and again after as long: true keeps the connection, for a page that has something to tell. */
  keepHidden?(): boolean;
}

/** A session to follow on the hub's connection. */
export type FollowOptions = Pick<
  SessionStreamOptions,
  "after" | "backoff" | "onControl" | "onEvent" | "onState" | "signal" | "stableAfterMs"
> & { sessionId: string };

interface Entry {
  readonly stream: SessionStream;
  /** Set while the stream wants the session's frames. */
  handlers: ConnectionHandlers | undefined;
  /** It has wanted them before. */
  opened: boolean;
}

/** Opens one connection for any number of a user's sessions. See {@link HubConnection}. */
export function connectHub(options: HubOptions): HubConnection {
  return new HubConnection(options);
}

/**
 * HubConnection follows many sessions of a user, and the list of all of them, over one
 * connection. That is kept as a session's is: a WebSocket, or server-sent events where that
 * does not get through, with the same waits. It starts at once and goes on until `close()`.
 *
 * `follow` gives the same SessionStream as `connect` does, with the same promise: every
 * event once, in order. Its commands go by HTTP.
 */
export class HubConnection {
  readonly #options: HubOptions;
  readonly #api: HubApi;
  readonly #entries = new Map<string, Entry>();
  /** It keeps the connection. It has no log: what comes in place of events are the sessions' frames. */
  readonly #line: SessionStream;
  #link: SharedLink | undefined;
  #list: ListReader | undefined;
  /** Sessions whose subscription has changed, and "" for the list. */
  readonly #changed = new Set<string>();
  readonly #stopped = new AbortController();
  #token: string | undefined;
  #renewing: Promise<string | undefined> | undefined;

  constructor(options: HubOptions) {
    this.#options = options;
    const { apiKey, userId, renewToken, transport = "auto", ...line } = options;
    const api = new HubApi(options);
    this.#api = api;
    this.#token = options.token ?? (apiKey || renewToken ? undefined : "");
    const query = userId === undefined ? "" : `?userId=${encodeURIComponent(userId)}`;
    const url = api.websocketUrl() + query;
    const subscriber = {
      wanted: () => this.#wanted(),
      refused: (link: SharedLink, refusals: Refusal[]) => this.#refused(link, refusals),
    };
    const withSocket = transport === "websocket" || (transport === "auto" && (options.webSocket ?? globalWebSocket()));
    const name = `sessionhub ${url}`;
    this.#line = new SessionStream({
      ...line,
      token: this.#token,
      choice: transportChoice({
        ...options,
        host: new URL(url).host,
        websocket: withSocket ? sharedSocket(url, options, subscriber) : undefined,
        sse:
          transport === "websocket"
            ? undefined
            : sharedEvents(api, { query, name, cookie: options.cookie }, subscriber),
      }),
      renewToken: () => this.#renew(),
      probe: (token) =>
        api
          .send("GET", `sessions${query ? `${query}&` : "?"}limit=1`, { token, signal: AbortSignal.timeout(probeMs) })
          .then(
            () => undefined,
            (error: HubError) => error,
          ),
      onShared: (frame) => this.#receive(frame),
      onControl: (frame) => this.#control(frame),
      onState: (state) => this.#follows(state),
    });
    watchNetwork(this.#line, this.#stopped.signal);
    this.#watchPage();
  }

  get state(): StreamState {
    return this.#line.state;
  }

  /** What it is connected by, or will try next. */
  get transport(): TransportKind {
    return this.#line.transport;
  }

  /**
   * Follows a session. One that is followed already has one stream: use that, or close it
   * first. A stream that is closed leaves the connection to the others.
   */
  follow(options: FollowOptions): SessionStream {
    const { sessionId } = options;
    if (this.state.phase === "closed") throw new HubError("stream_closed", "the connection is closed");
    if (this.#entries.has(sessionId)) throw new HubError("already_followed", `${sessionId} is followed already`);
    const transport = this.#transportOf(sessionId);
    const never = () => false;
    const choice: TransportChoice = {
      next: () => transport,
      better: undefined,
      retryIn: () => Infinity,
      connected() {},
      blocked() {},
      failed: never,
    };
    const stream = new SessionStream({
      ...options,
      token: "",
      choice,
      connectTimeoutMs: patienceMs,
      onState: (state) => {
        if (state.phase === "closed" && this.#entries.get(sessionId)?.stream === stream)
          this.#entries.delete(sessionId);
        options.onState?.(state);
      },
    });
    this.#entries.set(sessionId, { stream, handlers: undefined, opened: false });
    return stream;
  }

  /** The stream of a session that is followed. */
  stream(sessionId: string): SessionStream | undefined {
    return this.#entries.get(sessionId)?.stream;
  }

  /** Follows the list of the user's sessions. The list before is closed. */
  list(handlers: ListHandlers = {}): LiveList {
    const list = makeListReader(handlers, () => {
      if (this.#list !== list) return;
      this.#list = undefined;
      this.#change("");
    });
    this.#list = list;
    this.#change("");
    return list;
  }

  /** Ends a wait between attempts, or finds out whether the connection still lives. */
  reconnectNow(): void {
    this.#line.reconnectNow();
  }

  /** Ends the connection and all its streams. May be called twice. */
  close(): void {
    this.#line.close();
  }

  #wanted(): Change {
    const sessions = [...this.#entries].flatMap(([sessionId, { stream, handlers }]): Subscription[] =>
      handlers ? [{ sessionId, after: stream.after }] : [],
    );
    return { sessions, gone: [], list: this.#list ? true : undefined };
  }

  #transportOf(sessionId: string): Transport {
    const hub = this;
    const line = this.#line;
    return {
      get kind() {
        return line.transport;
      },
      open(_after, _token, handlers) {
        const entry = hub.#entries.get(sessionId)!;
        entry.handlers = handlers;
        hub.#change(sessionId);
        // Somebody has asked the stream to come back at once.
        if (entry.opened && line.state.phase === "offline") line.reconnectNow();
        entry.opened = true;
        return {
          send: (command) =>
            void postCommand(hub.#api, sessionId, hub.#token ?? "", command, handlers.onReply, () => void hub.#renew()),
          check: () => line.reconnectNow(),
          close() {
            if (entry.handlers !== handlers) return;
            entry.handlers = undefined;
            hub.#change(sessionId);
          },
        };
      },
    };
  }

  /** What changes in one go is told in one go. */
  #change(name: string): void {
    if (this.#changed.size === 0) queueMicrotask(() => this.#tell());
    this.#changed.add(name);
  }

  #tell(): void {
    const change: Change = { sessions: [], gone: [] };
    for (const name of this.#changed) {
      const entry = this.#entries.get(name);
      if (name === "") change.list = this.#list !== undefined;
      else if (entry?.handlers) change.sessions.push({ sessionId: name, after: entry.stream.after });
      else change.gone.push(name);
    }
    this.#changed.clear();
    if (change.list) {
      // Another snapshot begins, also where a list before this one has just been closed.
      this.#list?.restart();
      this.#link?.change({ sessions: [], gone: [], list: false });
    }
    this.#link?.change(change);
  }

  #receive({ sessionId, ...frame }: StreamFrame): void {
    const entry = this.#entries.get(sessionId!);
    if (frame.type !== "unsubscribed") entry?.handlers?.onFrame(frame);
    else if (entry) this.#end(entry, frame.data as ConnectionEnd);
  }

  #control(frame: ControlFrame): void {
    if (frame.type !== "connected") {
      this.#list?.receive(frame);
      return;
    }
    this.#link = (frame.data as unknown as { link: SharedLink }).link;
    this.#list?.restart();
    for (const { stream } of this.#entries.values()) if (stream.state.phase === "offline") stream.reconnectNow();
  }

  /** The hub, or the connection, has ended a subscription. */
  #end(entry: Entry, end: ConnectionEnd): void {
    const { handlers } = entry;
    entry.handlers = undefined;
    handlers?.onEnd(end);
  }

  #refused(link: SharedLink, refusals: Refusal[]): void {
    if (link !== this.#link) return;
    for (const { sessionId, code, detail, retryAfter } of refusals) {
      const entry = this.#entries.get(sessionId);
      const end = { code: code === "not_found" ? noSuchSession : cut, reason: detail, retryAfterSeconds: retryAfter };
      if (entry) this.#end(entry, end);
    }
  }

  /** The sessions come and go with the connection. */
  #follows(state: StreamState): void {
    if (state.phase === "offline") {
      this.#link = undefined;
      const { reason, retryAt } = state;
      for (const entry of this.#entries.values()) {
        this.#end(entry, { code: cut, reason, waitMs: Math.max(0, retryAt - Date.now()) });
      }
    } else if (state.phase === "closed") {
      this.#link = undefined;
      this.#stopped.abort();
      for (const { stream } of [...this.#entries.values()]) stream.close(state.reason);
    }
    this.#options.onState?.(state);
  }

  /** One request at a time, whoever asks. */
  #renew(): Promise<string | undefined> {
    this.#renewing ??= this.#credential().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  async #credential(): Promise<string | undefined> {
    const { renewToken, apiKey, userId } = this.#options;
    const token = renewToken ? await renewToken() : apiKey ? await this.#mint(userId) : undefined;
    this.#token = token;
    return token;
  }

  /** A WebSocket in a browser has no room for a key: it takes a user's token. A hub that makes none takes the key over SSE. */
  async #mint(userId: string | undefined): Promise<string> {
    try {
      const answer = await this.#api.send("POST", "user/token", {}, { userId });
      return ((await answer.json()) as { token: string }).token;
    } catch (error) {
      const { status } = error as HubError;
      if (status === 404 || status === 405) return "";
      throw error;
    }
  }

  /** A page that nobody looks at gives its connection back. */
  #watchPage(): void {
    const page = (globalThis as Partial<Pick<typeof globalThis, "document">>).document;
    const { hiddenMs = 30_000, keepHidden } = this.#options;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let resting = false;
    const give = () => {
      if (keepHidden?.()) timer = setTimeout(give, hiddenMs);
      else {
        resting = true;
        this.#line.rest(true, "the page is out of sight");
      }
    };
    const look = () => {
      clearTimeout(timer);
      if (page?.hidden && !resting) timer = setTimeout(give, hiddenMs);
      if (!page?.hidden && resting) {
        resting = false;
        this.#line.rest(false);
      }
    };
    const { signal } = this.#stopped;
    signal.addEventListener("abort", () => clearTimeout(timer));
    page?.addEventListener("visibilitychange", look, { signal });
    look();
  }
}
