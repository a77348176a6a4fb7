import { useEffect, useState } from "preact/hooks";
import type { SessionModel } from "./session-model.js";

const transportNames = { websocket: "WebSocket", sse: "SSE" };

const transportTitles = {
  websocket: "Connected by WebSocket",
  sse: "Connected by server-sent events, since a WebSocket did not get through from here",
};

const closedTexts = {
  closed: "Closed",
  session_ended: "Session ended",
  not_found: "Session is gone",
  unauthorized: "Not allowed in any more",
};

/** How the page hangs on the hub, always in sight. */
export function ConnectionState({ model }: { model: SessionModel }) {
  const state = model.connection.value;
  const transport = model.transport.value;
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (state.phase !== "offline") return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [state]);

  let text: string;
  switch (state.phase) {
    case "connecting":
      text = "Connecting…";
      break;
    case "replaying":
      text = "Replaying…";
      break;
    case "live":
      text = "Live";
      break;
    case "offline": {
      const seconds = Math.max(0, Math.ceil((state.retryAt - now) / 1000));
      text = `Offline, retry in ${seconds} s`;
      break;
    }
    case "closed":
      text = closedTexts[state.reason];
      break;
  }
  return (
    <span class="connection" data-testid="connection" data-state={state.phase} data-transport={transport}>
      <span class="dot" aria-hidden="true" />
      <span>{text}</span>
      <span class="muted transport" title={transportTitles[transport]}>
        {transportNames[transport]}
      </span>
      {state.phase === "offline" && (
        <button type="button" class="quiet" onClick={() => model.retryNow()} title={state.reason}>
          Retry now
        </button>
      )}
    </span>
  );
}
