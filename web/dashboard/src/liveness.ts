import type { ConnectOptions, SessionStream } from "@sessionhub/client";

// What the page says of its connection is true within three seconds. All times
// are in milliseconds.

const pingMs = 1_000;
const answerMs = 1_400;
const maxAnswerMs = 8_000;
/** A pause between two beats that no page is busy for: the machine slept. */
const sleptMs = 5_000;
const beatMs = 1_000;

/** How soon a silent WebSocket is given up; later on a network that the browser knows to be slow. */
export function pingOptions(): Pick<ConnectOptions, "pingIntervalMs" | "pingTimeoutMs"> {
  const { connection } = navigator as { connection?: { rtt?: number } };
  return {
    pingIntervalMs: pingMs,
    pingTimeoutMs: Math.min(maxAnswerMs, Math.max(answerMs, 4 * (connection?.rtt ?? 0))),
  };
}

/** Reconnects at once when the machine wakes from sleep: no connection outlives that. Until the function that it returns is called. */
export function watchSleep(stream: () => SessionStream | undefined): () => void {
  let beatAt = Date.now();
  const timer = setInterval(() => {
    const slept = Date.now() - beatAt > sleptMs;
    beatAt = Date.now();
    // A page out of sight is given few timers: how late they are says nothing there.
    if (!slept || document.hidden) return;
    stream()?.networkLost();
    stream()?.reconnectNow();
  }, beatMs);
  return () => clearInterval(timer);
}
