import type {
  Connection,
  ConnectionHandlers,
  IdentifiedCommand,
  Reply,
  StreamFrame,
  Transport,
} from "./transport.js";

const subprotocol = "sessionhub.v1";
const open = 1; // WebSocket.OPEN, which not every implementation has as a static field

/** The part of the WebSocket API that is used here; the browser's own class has it, and so has `ws` for Node. */
export interface WebSocketLike {
  readonly readyState: number;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: unknown) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

export interface WebSocketTransportOptions {
  /** Of the session's `/ws` route, with http(s) or ws(s) as its scheme. */
  url: string;
  /** Needed where there is no global one, as in Node 20. */
  webSocket?: WebSocketConstructor;
  /** How often the `ping` command is sent. Milliseconds. */
  pingIntervalMs?: number;
  /** How long anything may take to come back after it. Milliseconds. */
  pingTimeoutMs?: number;
}

/**
 * WebSocketTransport reaches a session over `/api/sessions/:id/ws`.
 *
 * The server's own pings are answered by the browser and are invisible to
 * scripts, so an idle session looks just like a dead network. The transport
 * therefore sends a `ping` command at intervals; a connection on which nothing
 * at all comes back in time is given up as cut (1006).
 */
export class WebSocketTransport implements Transport {
  readonly kind = "websocket";
  readonly #url: string;
  readonly #webSocket: WebSocketConstructor;
  readonly #pingIntervalMs: number;
  readonly #pingTimeoutMs: number;

  constructor(options: WebSocketTransportOptions) {
    const constructor =
      options.webSocket ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
    if (!constructor) {
      throw new TypeError("no global WebSocket here: pass one as `webSocket`");
    }
    this.#webSocket = constructor;
    this.#url = options.url.replace(/^http/, "ws");
    this.#pingIntervalMs = options.pingIntervalMs ?? 25_000;
    this.#pingTimeoutMs = options.pingTimeoutMs ?? 10_000;
  }

  open(after: string, token: string, handlers: ConnectionHandlers): Connection {
    const url = new URL(this.#url);
    url.searchParams.set("after", after);
    // A browser cannot set headers on a WebSocket, so the token travels as a
    // subprotocol. The server selects the first and never echoes the token.
    const socket = new this.#webSocket(url.href, [subprotocol, `bearer.${token}`]);
    return new WebSocketConnection(socket, handlers, this.#pingIntervalMs, this.#pingTimeoutMs);
  }
}

class WebSocketConnection implements Connection {
  readonly #socket: WebSocketLike;
  readonly #handlers: ConnectionHandlers;
  readonly #pingTimeoutMs: number;
  readonly #pinger: ReturnType<typeof setInterval>;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #pings = 0;
  #ended = false;

  constructor(
    socket: WebSocketLike,
    handlers: ConnectionHandlers,
    pingIntervalMs: number,
    pingTimeoutMs: number,
  ) {
    this.#socket = socket;
    this.#handlers = handlers;
    this.#pingTimeoutMs = pingTimeoutMs;
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#end(event.code, event.reason);
    // An error is always followed by a close, which says what there is to say.
    socket.onerror = () => {};
    // The first ping's deadline also bounds the handshake.
    this.#pinger = setInterval(() => this.#ping(), pingIntervalMs);
  }

  send(command: IdentifiedCommand): void {
    this.#write(command);
  }

  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stopTimers();
    this.#socket.close(1000);
  }

  #write(frame: object): void {
    // After the socket began to close a send is lost without an error; the
    // command stays unanswered, and its owner sends it again.
    if (this.#socket.readyState === open) this.#socket.send(JSON.stringify(frame));
  }

  #ping(): void {
    if (this.#deadline !== undefined) return;
    this.#deadline = setTimeout(() => {
      this.#end(1006, "nothing came back");
      this.#socket.close();
    }, this.#pingTimeoutMs);
    this.#write({ type: "ping", id: `ping${++this.#pings}`, data: {} });
  }

  #receive(message: unknown): void {
    if (this.#ended) return;
    // Any frame shows that the connection lives: behind a long replay, the
    // answer to a ping may rightly be late.
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
    if (typeof message !== "string") return; // the protocol has text frames only

    let frame: unknown;
    try {
      frame = JSON.parse(message);
    } catch {
      // To skip it could hide an event; a new connection reads it again.
      this.#end(1006, "a frame that is no JSON");
      this.#socket.close();
      return;
    }
    if (typeof frame !== "object" || frame === null) return;
    const type = (frame as { type?: unknown }).type;
    if (type === "ack" || type === "error") {
      if (!String((frame as Reply).id).startsWith("ping")) this.#handlers.onReply(frame as Reply);
    } else if (typeof type === "string") {
      this.#handlers.onFrame(frame as StreamFrame);
    }
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stopTimers();
    this.#handlers.onEnd({ code, reason });
  }

  #stopTimers(): void {
    clearInterval(this.#pinger);
    clearTimeout(this.#deadline);
  }
}
