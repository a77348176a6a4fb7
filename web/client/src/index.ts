import { HubApi, type HubApiOptions } from "./api.js";
import { HubError } from "./errors.js";
import { SessionStream, type ProbeResult, type SessionStreamOptions } from "./session-stream.js";
import { WebSocketTransport, type WebSocketTransportOptions } from "./websocket.js";

export * from "./api.js";
export * from "./errors.js";
export * from "./events.js";
export * from "./session-stream.js";
export type * from "./transport.js";
export { uuid } from "./uuid.js";
export { WebSocketTransport } from "./websocket.js";
export type * from "./websocket.js";

export interface ConnectOptions
  extends HubApiOptions,
    Omit<SessionStreamOptions, "transport" | "probe">,
    Pick<WebSocketTransportOptions, "webSocket" | "pingIntervalMs" | "pingTimeoutMs"> {
  sessionId: string;
}

/** Follows a session over WebSocket. See {@link SessionStream}. */
export function connect(options: ConnectOptions): SessionStream {
  const { baseUrl, apiKey, fetch, sessionId, webSocket, pingIntervalMs, pingTimeoutMs, ...rest } =
    options;
  const api = new HubApi({ baseUrl, apiKey, ...(fetch ? { fetch } : {}) });
  const transport = new WebSocketTransport({
    url: api.websocketUrl(sessionId),
    ...(webSocket ? { webSocket } : {}),
    ...(pingIntervalMs === undefined ? {} : { pingIntervalMs }),
    ...(pingTimeoutMs === undefined ? {} : { pingTimeoutMs }),
  });
  return new SessionStream({
    ...rest,
    transport,
    probe: (token) => probe(api, sessionId, token),
  });
}

async function probe(api: HubApi, sessionId: string, token: string): Promise<ProbeResult> {
  try {
    await api.getSession(sessionId, { token });
    return "ok";
  } catch (error) {
    const status = error instanceof HubError ? error.status : undefined;
    if (status === 401) return "unauthorized";
    if (status === 404) return "not_found";
    return "unreachable";
  }
}
