import { HubApi, type HubApiOptions } from "./api.js";
import { transportChoice, type ChoiceOptions } from "./choice.js";
import type { HubError } from "./errors.js";
import { watchNetwork } from "./network.js";
import { SessionStream } from "./session-stream.js";
import { sseTransport } from "./sse.js";
import type { SessionStreamOptions } from "./stream-options.js";
import { globalWebSocket, webSocketTransport, type WebSocketOptions } from "./websocket.js";

export * from "./api.js";
export * from "./bodies.js";
export * from "./errors.js";
export type * from "./elicitation.js";
export type * from "./events.js";
export type { ChoiceStorage } from "./choice.js";
export { SessionStream } from "./session-stream.js";
export type * from "./stream-options.js";
export type * from "./transport.js";
export { uuid } from "./uuid.js";
export { sseTransport } from "./sse.js";
export type { WebSocketConstructor, WebSocketLike } from "./websocket.js";

export interface ConnectOptions
  extends HubApiOptions,
    Omit<SessionStreamOptions, "choice" | "probe">,
    Pick<ChoiceOptions, "storage" | "retryWebSocketMs">,
    WebSocketOptions {
  sessionId: string;
  /**
   * `auto`: WebSocket, and SSE where that does not get through or does not
   * last. SSE alone where there is no WebSocket, as in Node 20 without one.
   */
  transport?: "auto" | "websocket" | "sse" | undefined;
  /** Takes the place of the SSE transport; it may build on {@link sseTransport}. */
  sse?: typeof sseTransport;
}

/**
 * Follows a session. Without a `token` one is asked for, by the API key or, at
 * a hub in local mode, by nobody; so is the next, when one expires. See
 * {@link SessionStream}.
 */
export function connect(options: ConnectOptions): SessionStream {
  const { sessionId, transport = "auto" } = options;
  const api = new HubApi(options);
  const url = api.websocketUrl(sessionId);
  const address = (after: string) => `${url}?after=${encodeURIComponent(after)}`;
  const withSocket = transport === "websocket" || (transport === "auto" && (options.webSocket ?? globalWebSocket()));
  const choice = transportChoice({
    ...options,
    host: new URL(url).host,
    websocket: withSocket ? webSocketTransport(address, options) : undefined,
    sse: transport === "websocket" ? undefined : (options.sse ?? sseTransport)(api, sessionId),
  });
  const stopped = new AbortController();
  const stream = new SessionStream({
    // A token cannot outlive the one that makes it, so the next is asked for as the API key's owner.
    renewToken: async () => (await api.mintToken(sessionId)).token,
    ...options,
    onState: (state) => {
      if (state.phase === "closed") stopped.abort();
      options.onState?.(state);
    },
    choice,
    probe: (token) =>
      api.getSession(sessionId, { token, signal: AbortSignal.timeout(5_000) }).then(
        () => undefined,
        (error: HubError) => error,
      ),
  });
  watchNetwork(stream, stopped.signal);
  return stream;
}
