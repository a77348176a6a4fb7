import type { Connection, Reply, StreamFrame, Transport } from "./transport.js";

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

export interface WebSocketOptions {
  /** Needed where there is no global one, as in Node 20. */
  webSocket?: WebSocketConstructor | undefined;
  /** How often the `ping` command is sent. Milliseconds. */
  pingIntervalMs?: number | undefined;
  /** How long anything may take to come back after it. Milliseconds. */
  pingTimeoutMs?: number | undefined;
}

/** The browser's own class, or Node's since 22. */
export function globalWebSocket(): WebSocketConstructor | undefined {
  return (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
}

/**
 * Reaches the hub over a WebSocket. `address` gives the URL for a cursor.
 *
 * The server's own pings are answered by the browser and are invisible to
 * scripts, so an idle session looks just like a dead network. The transport
 * therefore sends a `ping` command at intervals; a connection on which nothing
 * at all comes back in time is given up as cut (1006).
 */
export function webSocketTransport(address: (after: string) => string, options: WebSocketOptions): Transport {
  const { webSocket = globalWebSocket(), pingIntervalMs = 25_000, pingTimeoutMs = 10_000 } = options;
  if (!webSocket) throw new TypeError("no global WebSocket: pass `webSocket`");
  return {
    kind: "websocket",
    open(after, token, { onFrame, onReply, onEnd }): Connection {
      // A browser cannot set headers on a WebSocket, so the token travels as a
      // subprotocol. The server selects the first and never echoes the token.
      const socket = new webSocket(address(after), token ? [subprotocol, `bearer.${token}`] : [subprotocol]);
      let deadline: ReturnType<typeof setTimeout> | undefined;
      let pings = 0;
      let ended = false;

      const stop = () => {
        ended = true;
        clearInterval(pinger);
        clearTimeout(deadline);
      };
      const end = (code: number, reason: string) => {
        if (ended) return;
        stop();
        onEnd({ code, reason });
      };
      const giveUp = (reason: string) => {
        end(1006, reason);
        socket.close();
      };
      const write = (frame: object) => {
        // After the socket began to close a send is lost without an error; the
        // command stays unanswered, and its owner sends it again.
        if (socket.readyState === open) socket.send(JSON.stringify(frame));
      };
      const check = () => {
        if (ended || deadline !== undefined) return;
        deadline = setTimeout(() => {
          // The answer may wait behind whatever kept the page busy.
          deadline = setTimeout(() => giveUp("nothing came"), pingTimeoutMs / 4);
        }, pingTimeoutMs);
        write({ type: "ping", id: `ping${++pings}`, data: {} });
      };
      const pinger = setInterval(check, pingIntervalMs);

      socket.onclose = (event) => end(event.code, event.reason);
      // An error is always followed by a close, which says what there is to say.
      socket.onerror = () => {};
      socket.onmessage = ({ data }) => {
        if (ended) return;
        // Any frame shows that the connection lives: behind a long replay, the
        // answer to a ping may rightly be late.
        clearTimeout(deadline);
        deadline = undefined;
        let frame: StreamFrame | Reply;
        try {
          frame = JSON.parse(data as string) as StreamFrame | Reply;
        } catch {
          // To skip it could hide an event; a new connection reads it again.
          return giveUp("no JSON");
        }
        if (frame.type !== "ack" && frame.type !== "error") onFrame(frame as StreamFrame);
        else if (!String((frame as Reply).id).startsWith("ping")) onReply(frame as Reply);
      };

      return {
        send: write,
        check,
        close() {
          if (ended) return;
          stop();
          socket.close(1000);
        },
      };
    },
  };
}
