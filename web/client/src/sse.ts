import type { HubApi } from "./api.js";
import { HubError } from "./errors.js";
import type { Connection, ConnectionHandlers, IdentifiedCommand, Reply, StreamFrame, Transport } from "./transport.js";

export const eventStream = "text/event-stream";

/** What the hub's status says, in the words of the WebSocket's close codes. */
const closeCodes: Record<number, number> = { 401: 4401, 404: 4404, 429: 4429, 503: 4503 };
const sessionEnded = 4410;
const tokenSpent = 4401;

/** No line is longer: an event's data is bounded by the hub far below this. Characters. */
const maxLine = 2 ** 26;
const commandTimeoutMs = 15_000;

export interface EventReader extends Pick<Connection, "close" | "check"> {
  /** Ends it as if it had ended by itself. */
  end(code: number, reason: string, retryAfterSeconds?: number): void;
}

/** Gives the events of an answer; undefined: there is nothing to come (204). */
export function eventsOf(answer: Response): ReadableStream<Uint8Array> | undefined {
  if (answer.status === 204) return undefined;
  if (!answer.headers.get("Content-Type")?.startsWith(eventStream) || !answer.body) {
    throw new HubError("unreachable", "no event stream");
  }
  return answer.body;
}

/**
 * Reads server-sent events with fetch, so that the token can travel in a
 * header, which EventSource does not allow, and so that a service worker can
 * use it.
 *
 * The hub sends a comment every `heartbeatSeconds`: two and a half times that in
 * silence is a dead connection.
 */
export function readEvents(
  open: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array> | undefined>,
  { onFrame, onEnd }: Pick<ConnectionHandlers, "onFrame" | "onEnd">,
): EventReader {
  const abort = new AbortController();
  let silenceMs = Infinity;
  let lastBytesAt = 0;
  let watch: ReturnType<typeof setInterval> | undefined;
  let ended = false;

  const close = () => {
    ended = true;
    clearInterval(watch);
    abort.abort();
  };
  const end = (code: number, reason: string, retryAfterSeconds?: number) => {
    if (ended) return;
    close();
    onEnd({ code, reason, retryAfterSeconds });
  };
  const check = () => {
    if (Date.now() - lastBytesAt > silenceMs) end(1006, "nothing came");
  };

  const receive = (frame: StreamFrame) => {
    if (frame.type === "connected" || frame.type === "ready") {
      silenceMs = 2_500 * ((frame.data as { heartbeatSeconds?: number }).heartbeatSeconds || 15);
      clearInterval(watch); // of the frame before, when the log went on to another epoch
      watch = setInterval(check, silenceMs / 4);
    }
    onFrame(frame);
  };
  const read = async (body: ReadableStream<Uint8Array>) => {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    let data = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      lastBytesAt = Date.now();
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop()!;
      if (rest.length > maxLine) throw new Error("endless line");
      for (const line of lines) {
        // The frame itself says all that `id:` and `event:` say.
        if (line.startsWith("data:")) data += line.slice(5);
        else if (line === "" && data !== "") {
          const frame = JSON.parse(data) as StreamFrame;
          data = "";
          receive(frame);
          if (ended) return;
        }
      }
    }
  };
  const run = async () => {
    try {
      const body = await open(abort.signal);
      if (!body) return end(sessionEnded, "");
      await read(body);
      end(1006, "");
    } catch (error) {
      const { status, message, retryAfterSeconds } = error as HubError;
      end(closeCodes[status!] ?? 1006, message, retryAfterSeconds);
    }
  };

  void run();
  return { close, check, end };
}

/** Sends a command by HTTP. `onSpent`: the hub did not take the token; the answer is `unreachable` then. */
export async function postCommand(
  api: HubApi,
  sessionId: string,
  token: string,
  { id, ...command }: IdentifiedCommand,
  onReply: (reply: Reply) => void,
  onSpent: (reason: string) => void,
): Promise<void> {
  try {
    const signal = AbortSignal.timeout(commandTimeoutMs);
    onReply({ type: "ack", id, data: await api.command(sessionId, command, { token, signal }) });
  } catch (error) {
    const { code, message, status, fields, retryAfterSeconds } = error as HubError;
    // The token ran out on an open stream: that gets a new one, and the command goes out again.
    if (status === 401) onSpent(message);
    // An answer that is not the hub's own is a proxy's; 408: it was too long on its way.
    const lost = status === undefined || status === 401 || status === 408 || code.startsWith("http_5");
    onReply({
      type: "error",
      id,
      error: { ...fields, code: lost ? "unreachable" : code, detail: message, retryAfter: retryAfterSeconds },
    });
  }
}

/** Reads a session's `/events`. Commands are sent beside the stream, by HTTP. */
export function sseTransport(api: HubApi, sessionId: string): Transport {
  return {
    kind: "sse",
    open(after, token, handlers): Connection {
      const { end, ...stream } = readEvents((signal) => api.openEvents(sessionId, after, { token, signal }), handlers);
      return {
        ...stream,
        send: (command) =>
          void postCommand(api, sessionId, token, command, handlers.onReply, (reason) => end(tokenSpent, reason)),
      };
    },
  };
}
