// A WebSocket server that speaks sessionhub.v1 by script: each test says what
// the hub does on each connection. Real sockets on both sides.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";

import { WebSocket as NodeWebSocket } from "ws";
import { connect, type ConnectOptions, type SessionStream } from "../src/index.js";
import type { ControlFrame, SessionEvent, StreamState } from "../src/index.js";

export interface ReceivedCommand {
  type: string;
  id: string;
  data: Record<string, unknown>;
}

/** How frames travel to one client. */
interface Wire {
  send(text: string): void;
  close(code: number, reason: string): void;
  cut(): void;
}

/** One accepted connection, as the hub sees it. */
export class Peer {
  readonly kind: "websocket" | "sse";
  readonly after: string;
  readonly protocols: string;
  readonly authorization: string;
  /** What came on this WebSocket; SSE's commands are in the hub's `posts`. */
  readonly commands: ReceivedCommand[] = [];
  /** Called for each command but `ping`, which is answered by itself unless `mute`. */
  onCommand: (command: ReceivedCommand) => void = () => {};
  mute = false;
  pings = 0;
  /** The client went away, or was sent away. */
  gone = false;
  readonly #wire: Wire;

  constructor(kind: Peer["kind"], wire: Wire, request: IncomingMessage) {
    this.kind = kind;
    this.#wire = wire;
    this.after = new URL(request.url ?? "", "http://hub").searchParams.get("after") ?? "";
    this.protocols = request.headers["sec-websocket-protocol"] ?? "";
    this.authorization = request.headers.authorization ?? "";
  }

  static overWebSocket(socket: WebSocket, request: IncomingMessage): Peer {
    const wire: Wire = {
      send: (text) => socket.send(text),
      close: (code, reason) => socket.close(code, reason),
      cut: () => socket.terminate(),
    };
    const peer = new Peer("websocket", wire, request);
    socket.on("close", () => (peer.gone = true));
    socket.on("message", (bytes) => {
      const command = JSON.parse(String(bytes)) as ReceivedCommand;
      if (command.type === "ping") {
        peer.pings++;
        if (!peer.mute) peer.ack(command.id, {});
        return;
      }
      peer.commands.push(command);
      peer.onCommand(command);
    });
    return peer;
  }

  static overSse(response: ServerResponse, request: IncomingMessage): Peer {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
    const wire: Wire = {
      send: (text) => response.write(`event: x\ndata: ${text}\n\n`),
      close: () => response.end(),
      cut: () => response.destroy(),
    };
    const peer = new Peer("sse", wire, request);
    response.on("close", () => (peer.gone = true));
    return peer;
  }

  send(frame: object): void {
    this.#wire.send(JSON.stringify(frame));
  }

  connected(epoch = "e1", lastSeq = 0): void {
    const data = { sessionId: "s", epoch, firstSeq: 1, lastSeq, status: "idle", node: "n1", heartbeatSeconds: 15 };
    this.control("connected", data);
  }

  control(type: string, data: object): void {
    this.send({ type, time: "2026-01-01T00:00:00.000Z", data });
  }

  /** Sends `output` events first to last, each with its seq as text. */
  outputs(first: number, last: number): void {
    for (let seq = first; seq <= last; seq++) this.output(seq, `${seq} `);
  }

  output(seq: number, text: string, from?: number): void {
    const range = from === undefined ? { seq } : { from, seq };
    this.send({
      ...range,
      type: "output",
      time: "2026-01-01T00:00:00.000Z",
      data: { messageId: "m", text, kind: "text" },
    });
  }

  ack(id: string, data: object): void {
    this.send({ type: "ack", id, data });
  }

  refuse(id: string, error: object): void {
    this.send({ type: "error", id, error });
  }

  close(code: number, reason = ""): void {
    this.#wire.close(code, reason);
  }

  /** Cuts the connection without a close frame, as a crash does. */
  cut(): void {
    this.#wire.cut();
  }
}

export class ScriptedHub {
  readonly peers: Peer[] = [];
  readonly baseUrl: string;
  /** When set, the upgrade is refused with this status. */
  refuseUpgrade: number | undefined;
  /** The upgrade is taken, and then nothing comes. */
  swallowUpgrade = false;
  /** Answers GET /api/sessions/:id. */
  sessionStatus = 200;
  /** When set, an SSE request is refused with this status. */
  refuseEvents: { status: number; headers?: Record<string, string>; body?: string } | undefined;
  /** What was sent by HTTP, in order. */
  readonly posts: { route: string; authorization: string; data: Record<string, unknown> }[] = [];
  /** Answers what is sent by HTTP; nothing: the connection is cut. */
  onPost: (route: string, data: Record<string, unknown>) => { status: number; body: object } | undefined = () => ({
    status: 202,
    body: {},
  });
  readonly #server;
  readonly #script: (peer: Peer, index: number) => void;

  private constructor(server: ReturnType<typeof createServer>, script: (peer: Peer, index: number) => void) {
    this.#server = server;
    this.#script = script;
    this.baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "sessionhub.v1" });
    server.on("upgrade", (request, raw, head) => {
      if (this.refuseUpgrade !== undefined) {
        raw.end(`HTTP/1.1 ${this.refuseUpgrade} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
        return;
      }
      sockets.handleUpgrade(request, raw, head, (socket) => {
        if (!this.swallowUpgrade) this.#accept(Peer.overWebSocket(socket, request));
      });
    });
    server.on("request", (request: IncomingMessage, response: ServerResponse) => void this.#answer(request, response));
  }

  #accept(peer: Peer): void {
    this.peers.push(peer);
    this.#script(peer, this.peers.length - 1);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const route = new URL(request.url!, "http://hub").pathname.replace(/^\/api\/sessions\/s\/?/, "");
    const json = (status: number, body: object, headers: Record<string, string> = {}) => {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(status === 204 ? undefined : JSON.stringify(body));
    };
    if (request.method === "POST") {
      let body = "";
      for await (const bytes of request) body += String(bytes);
      const data = JSON.parse(body) as Record<string, unknown>;
      this.posts.push({ route, authorization: request.headers.authorization ?? "", data });
      const answer = this.onPost(route, data);
      if (answer) json(answer.status, answer.body);
      else request.socket.destroy();
    } else if (route === "events") {
      const { status, headers = {}, body } = this.refuseEvents ?? { status: 200 };
      if (status === 200 && body === undefined) return this.#accept(Peer.overSse(response, request));
      response.writeHead(status, headers);
      response.end(body);
    } else {
      json(this.sessionStatus, { code: "not_found" });
    }
  }

  /** `script` is run for each connection that is accepted; `index` counts them from 0. */
  static async start(script: (peer: Peer, index: number) => void): Promise<ScriptedHub> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new ScriptedHub(server, script);
  }

  async stop(): Promise<void> {
    for (const peer of this.peers) peer.cut();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** A stream with everything it delivered. */
export class Follower {
  readonly events: SessionEvent[] = [];
  readonly controls: ControlFrame[] = [];
  readonly states: StreamState[] = [];
  readonly stream: SessionStream;

  constructor(hub: ScriptedHub, options: Partial<ConnectOptions> = {}) {
    this.stream = connect({
      baseUrl: hub.baseUrl,
      sessionId: "s",
      token: "t1",
      webSocket: NodeWebSocket as unknown as NonNullable<ConnectOptions["webSocket"]>,
      backoff: { baseMs: 5, maxMs: 20 },
      ...options,
      onEvent: (event) => this.events.push(event),
      onControl: (frame) => this.controls.push(frame),
      onState: (state) => this.states.push(state),
    });
  }

  get seqs(): number[] {
    return this.events.map((event) => event.seq);
  }

  get text(): string {
    return this.events.map((event) => (event.type === "output" ? event.data.text : "")).join("");
  }

  phases(): string[] {
    return this.states.map((state) => state.phase);
  }
}

/** Polls until the condition holds; rejects after 5 s, saying what was waited for. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
