// A hub of many sessions by script: /api/ws and /api/events, over real sockets.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach } from "node:test";
import { WebSocket as NodeWebSocket, WebSocketServer, type WebSocket } from "ws";

import { connectHub, type HubConnection, type HubOptions } from "../src/hub.js";
import type { ControlFrame, SessionEvent, SessionStream, StreamState } from "../src/index.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export interface Asked {
  sessions?: { sessionId: string; after: string }[];
  sessionIds?: string[];
  list?: boolean;
}

interface Wire {
  send(text: string): void;
  close(code: number, reason: string): void;
  cut(): void;
}

/** One connection, as the hub sees it. */
export class SharedPeer {
  readonly kind: "websocket" | "sse";
  readonly id: string;
  readonly credential: string;
  readonly url: string;
  /** Its subscriptions, with what was asked for as `after`. */
  readonly has = new Map<string, string>();
  /** Each session that was ever subscribed to, in order, as `<session> <after>`. */
  readonly subscribed: string[] = [];
  /** How many sessions each request named. */
  readonly sizes: number[] = [];
  /** The data of each `auth`. */
  readonly auths: object[] = [];
  list = false;
  gone = false;
  /** Answers a subscription: by its frames, or by a refusal. */
  onSubscribe: (sessionId: string, after: string) => { code: string; detail: string; retryAfter?: number } | undefined;
  onList: () => void = () => {};
  readonly #wire: Wire;

  constructor(kind: SharedPeer["kind"], id: string, wire: Wire, request: IncomingMessage, hub: SharedScript) {
    this.kind = kind;
    this.id = id;
    this.#wire = wire;
    this.url = request.url ?? "";
    const { authorization, "x-api-key": key } = request.headers;
    this.credential = String(key ?? authorization ?? request.headers["sec-websocket-protocol"] ?? "");
    this.onSubscribe = (sessionId, after) => {
      hub.replay(this, sessionId, after);
      return undefined;
    };
  }

  send(frame: object): void {
    this.#wire.send(JSON.stringify(frame));
  }

  control(type: string, data: object, sessionId?: string): void {
    this.send({ ...(sessionId ? { sessionId } : {}), type, time: "2026-01-01T00:00:00.000Z", data });
  }

  ready(): void {
    this.control("ready", { connection: this.id, userId: "u", node: "n1", heartbeatSeconds: 15 });
  }

  connected(sessionId: string, lastSeq: number, epoch = "e1"): void {
    const data = { sessionId, epoch, firstSeq: 1, lastSeq, status: "idle", node: "n1", heartbeatSeconds: 15 };
    this.control("connected", data, sessionId);
  }

  output(sessionId: string, seq: number, from?: number): void {
    const range = from === undefined ? { seq } : { from, seq };
    const data = { messageId: "m", text: `${sessionId}/${seq}`, kind: "text" };
    this.send({ sessionId, ...range, type: "output", time: "2026-01-01T00:00:00.000Z", data });
  }

  outputs(sessionId: string, first: number, last: number): void {
    for (let seq = first; seq <= last; seq++) this.output(sessionId, seq);
  }

  /** Does what a request asks, and gives the answer. */
  take(subscribe: Asked, unsubscribe: Asked = {}): object {
    for (const sessionId of unsubscribe.sessionIds ?? []) this.has.delete(sessionId);
    if (unsubscribe.list) this.list = false;
    const subscribed: string[] = [];
    const refused: object[] = [];
    const { sessions = [] } = subscribe;
    this.sizes.push(sessions.length + (unsubscribe.sessionIds?.length ?? 0));
    for (const { sessionId, after } of sessions) {
      this.subscribed.push(`${sessionId} ${after}`);
      this.has.set(sessionId, after);
      const refusal = this.onSubscribe(sessionId, after);
      if (refusal) {
        this.has.delete(sessionId);
        refused.push({ sessionId, ...refusal });
      } else subscribed.push(sessionId);
    }
    if (subscribe.list && !this.list) {
      this.list = true;
      this.onList();
    }
    return { subscribed, refused };
  }

  close(code: number, reason = ""): void {
    this.#wire.close(code, reason);
  }

  cut(): void {
    this.#wire.cut();
  }
}

export class SharedScript {
  readonly peers: SharedPeer[] = [];
  readonly baseUrl: string;
  /** What each session has, by its last seq. */
  readonly logs = new Map<string, number>();
  refuseUpgrade: number | undefined;
  refuseEvents: { status: number; headers?: Record<string, string> } | undefined;
  /** Refuses changes by HTTP with this status. */
  refuseChanges: number | undefined;
  /** What else was sent by HTTP, in order. */
  readonly posts: { route: string; credential: string; data: unknown }[] = [];
  onPost: (route: string) => { status: number; body: object } = () => ({ status: 202, body: {} });
  readonly #script: (peer: SharedPeer, index: number) => void;

  private constructor(server: ReturnType<typeof createServer>, script: (peer: SharedPeer, index: number) => void) {
    this.#script = script;
    this.baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "sessionhub.v1" });
    server.on("upgrade", (request, raw, head) => {
      if (this.refuseUpgrade !== undefined) {
        raw.end(`HTTP/1.1 ${this.refuseUpgrade} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
        return;
      }
      sockets.handleUpgrade(request, raw, head, (socket) => this.#webSocket(socket, request));
    });
    server.on("request", (request, response) => void this.#answer(request, response));
  }

  static async start(script: (peer: SharedPeer, index: number) => void = () => {}): Promise<SharedScript> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const hub = new SharedScript(server, script);
    cleanups.push(async () => {
      for (const peer of hub.peers) peer.cut();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    return hub;
  }

  /** Everything that a session has after the cursor, as a hub does that has lost nothing. */
  replay(peer: SharedPeer, sessionId: string, after: string, epoch = "e1"): void {
    const last = this.logs.get(sessionId) ?? 0;
    peer.connected(sessionId, last, epoch);
    peer.outputs(sessionId, Number(after.split("-").at(-1)) + 1, last);
    peer.control("caught_up", { seq: last }, sessionId);
  }

  /** Appends to a session's log, and tells whoever has subscribed. */
  append(sessionId: string, count = 1): void {
    const first = (this.logs.get(sessionId) ?? 0) + 1;
    this.logs.set(sessionId, first + count - 1);
    for (const peer of this.peers) {
      if (!peer.gone && peer.has.has(sessionId)) peer.outputs(sessionId, first, first + count - 1);
    }
  }

  #accept(peer: SharedPeer): void {
    this.peers.push(peer);
    this.#script(peer, this.peers.length - 1);
    peer.ready();
  }

  #webSocket(socket: WebSocket, request: IncomingMessage): void {
    const wire: Wire = {
      send: (text) => socket.send(text),
      close: (code, reason) => socket.close(code, reason),
      cut: () => socket.terminate(),
    };
    const peer = new SharedPeer("websocket", `c${this.peers.length}`, wire, request, this);
    socket.on("close", () => (peer.gone = true));
    socket.on("message", (bytes) => {
      const { type, id, data } = JSON.parse(String(bytes)) as { type: string; id: string; data: Asked };
      const answer =
        type === "auth"
          ? { auths: peer.auths.push(data) }
          : type === "subscribe"
            ? peer.take(data)
            : type === "unsubscribe"
              ? peer.take({}, data)
              : ({} as object);
      peer.send({ type: "ack", id, data: answer });
    });
    this.#accept(peer);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const route = new URL(request.url!, "http://hub").pathname.replace(/^\/api\//, "");
    const json = (status: number, body: object, headers: Record<string, string> = {}) => {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(JSON.stringify(body));
    };
    let body = "";
    for await (const bytes of request) body += String(bytes);
    const data = (body ? JSON.parse(body) : {}) as Record<string, Asked> & Asked;
    if (route === "events") {
      if (this.refuseEvents) return json(this.refuseEvents.status, {}, this.refuseEvents.headers);
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.flushHeaders();
      const wire: Wire = {
        send: (text) => response.write(`data: ${text}\n\n`),
        close: () => response.end(),
        cut: () => response.destroy(),
      };
      const peer = new SharedPeer("sse", `c${this.peers.length}`, wire, request, this);
      response.on("close", () => (peer.gone = true));
      this.#accept(peer);
      const { refused } = peer.take(data) as { refused: { sessionId: string }[] };
      for (const no of refused) peer.control("refused", no, no.sessionId);
    } else if (route.startsWith("events/")) {
      const peer = this.peers.find(({ id, gone }) => route === `events/${id}` && !gone);
      if (this.refuseChanges) json(this.refuseChanges, { code: "unavailable" });
      else if (peer) json(200, peer.take(data["subscribe"] ?? {}, data["unsubscribe"]));
      else json(404, { code: "not_found" });
    } else {
      const { authorization, "x-api-key": key } = request.headers;
      this.posts.push({ route, credential: String(key ?? authorization ?? ""), data });
      const { status, body: answer } = this.onPost(route);
      json(status, answer);
    }
  }
}

/** A hub's connection with what it and its streams delivered. */
export class HubFollower {
  readonly states: StreamState[] = [];
  readonly events = new Map<string, SessionEvent[]>();
  readonly controls = new Map<string, ControlFrame[]>();
  readonly hub: HubConnection;

  constructor(script: SharedScript, options: Partial<HubOptions> = {}) {
    this.hub = connectHub({
      baseUrl: script.baseUrl,
      webSocket: NodeWebSocket as unknown as NonNullable<HubOptions["webSocket"]>,
      backoff: { baseMs: 5, maxMs: 20 },
      ...options,
      onState: (state) => this.states.push(state),
    });
    cleanups.push(() => this.hub.close());
  }

  follow(sessionId: string, after = "0"): SessionStream {
    const events: SessionEvent[] = [];
    const controls: ControlFrame[] = [];
    this.events.set(sessionId, events);
    this.controls.set(sessionId, controls);
    return this.hub.follow({
      sessionId,
      after,
      backoff: { baseMs: 5, maxMs: 20 },
      onEvent: (event) => events.push(event),
      onControl: (frame) => controls.push(frame),
    });
  }

  seqs(sessionId: string): number[] {
    return this.events.get(sessionId)!.map(({ seq }) => seq);
  }
}
