import type { HubApi } from "./api.js";
import type { HubError } from "./errors.js";
import type { Command, Connection, StreamFrame, Transport } from "./transport.js";

/** What the hub's status says, in the words of the WebSocket's close codes. */
const closeCodes: Record<number, number> = { 401: 4401, 404: 4404, 429: 4429, 503: 4503 };
const sessionEnded = 4410;
const tokenSpent = 4401;

/** No line is longer: an event's data is bounded by the hub far below this. Characters. */
const maxLine = 2 ** 26;
const commandTimeoutMs = 15_000;

/**
 * Reads a session's `/events` with fetch, so that the token can travel in a
 * header, which EventSource does not allow, and so that a service worker can
 * use it. Commands are sent beside the stream, by HTTP.
 *
 * The hub sends a comment every `heartbeatSeconds`: two and a half times that in
 * silence is a dead connection.
 */
export function sseTransport(api: HubApi, sessionId: string): Transport {
  return {
    kind: "sse",
    open(after, token, { onFrame, onReply, onEnd }): Connection {
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
        if (frame.type === "connected") {
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
          const body = await api.openEvents(sessionId, after, { token, signal: abort.signal });
          if (!body) return end(sessionEnded, "");
          await read(body);
          end(1006, "");
        } catch (error) {
          const { status, message, retryAfterSeconds } = error as HubError;
          end(closeCodes[status!] ?? 1006, message, retryAfterSeconds);
        }
      };

      const post = async (id: string, command: Command) => {
        try {
          const signal = AbortSignal.timeout(commandTimeoutMs);
          onReply({ type: "ack", id, data: await api.command(sessionId, command, { token, signal }) });
        } catch (error) {
          const { code, message, status, fields, retryAfterSeconds } = error as HubError;
          // The token ran out on an open stream: that gets a new one, and the command goes out again.
          if (status === 401) end(tokenSpent, message);
          // An answer that is not the hub's own is a proxy's; 408: it was too long on its way.
          const lost = status === undefined || status === 401 || status === 408 || code.startsWith("http_5");
          onReply({
            type: "error",
            id,
            error: { ...fields, code: lost ? "unreachable" : code, detail: message, retryAfter: retryAfterSeconds },
          });
        }
      };

      void run();
      return { close, check, send: ({ id, ...command }) => void post(id, command) };
    },
  };
}
