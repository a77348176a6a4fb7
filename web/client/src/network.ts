import type { SessionStream } from "./session-stream.js";

/** Browsers say when the network is gone or back, or the page is looked at again: no time to wait, or to trust an old connection. */
export function watchNetwork(stream: SessionStream, signal: AbortSignal): void {
  const scope = globalThis as Partial<Pick<typeof globalThis, "addEventListener" | "document">>;
  const page = scope.document;
  const wake = () => {
    if (!page?.hidden) stream.reconnectNow();
  };
  for (const name of ["online", "pageshow"]) scope.addEventListener?.(name, wake, { signal });
  scope.addEventListener?.("offline", () => stream.networkLost(), { signal });
  page?.addEventListener("visibilitychange", wake, { signal });
}
