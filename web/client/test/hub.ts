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

/** One accepted connection, as the hub sees it. */
export class Peer {
  readonly after: string;
  readonly protocols: string;
  readonly commands: ReceivedCommand[] = [];
  /** Called for each command but `ping`, which is answered by itself unless `mute`. */
  onCommand: (command: ReceivedCommand) => void = () => {};
  mute = false;
  pings = 0;
  readonly socket: WebSocket;

  constructor(socket: WebSocket, request: IncomingMessage) {
    this.socket = socket;
    this.after = new URL(request.url ?? "", "http://hub").searchParams.get("after") ?? "";
    this.protocols = request.headers["sec-websocket-protocol"] ?? "";
    socket.on("message", (bytes) => {
      const command = JSON.parse(String(bytes)) as ReceivedCommand;
      if (command.type === "ping") {
        this.pings++;
        if (!this.mute) this.ack(command.id, {});
        return;
      }
      this.commands.push(command);
      this.onCommand(command);
    });
  }

  send(frame: object): void {
    this.socket.send(JSON.stringify(frame));
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
    this.send({ ...range, type: "output", time: "2026-01-01T00:00:00.000Z", data: { messageId: "m", text, kind: "text" } });
  }

  ack(id: string, data: object): void {
    this.send({ type: "ack", id, data });
  }

  refuse(id: string, error: object): void {
    this.send({ type: "error", id, error });
  }

  close(code: number, reason = ""): void {
    this.socket.close(code, reason);
  }

  /** Cuts the connection without a close frame, as a crash does. */
  cut(): void {
    this.socket.terminate();
  }
}

export class ScriptedHub {
  readonly peers: Peer[] = [];
  readonly baseUrl: string;
  /** When set, the upgrade is refused with this status. */
  refuseUpgrade: number | undefined;
  /** Answers GET /api/sessions/:id. */
  sessionStatus = 200;
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
        const peer = new Peer(socket, request);
        this.peers.push(peer);
        this.#script(peer, this.peers.length - 1);
      });
    });
    server.on("request", (_request: IncomingMessage, response: ServerResponse) => {
      response.writeHead(this.sessionStatus, { "content-type": "application/json" });
      response.end(JSON.stringify({ code: "not_found" }));
    });
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
