import { useEffect } from "preact/hooks";
import { HubError } from "@sessionhub/client";
import { markSeen } from "@sessionhub/client/inbox";
import { inBackground } from "./background.js";
import { refreshInbox } from "./inbox-feed.js";
import type { SessionModel } from "./session-model.js";

/** How often the page asks itself whether the user sees the end of the session. Milliseconds. */
const lookMs = 500;
/** So near to its end counts as at the end. Pixels. */
const endPx = 64;

/**
 * Tells the hub that the user has read the session: while the page is visible and shows the
 * end of the transcript, each time that the session has come to rest or asks something.
 */
export function useSeen(model: SessionModel): void {
  useEffect(() => {
    if (model.readOnly) return;
    let told = 0;
    let telling = false;
    const look = async () => {
      const transcript = model.transcript.peek();
      const lastSeq = transcript.shownSeq;
      const status = transcript.status.peek();
      const calls =
        status === "idle" || status === "ended" || status === "failed" || transcript.pending.peek().length > 0;
      if (telling || !calls || transcript.deleted || lastSeq <= told || document.hidden || !atEnd()) return;
      if (told === 0 && model.session.peek()?.unread !== true && model.session.peek()?.lastSeq === lastSeq) {
        told = lastSeq; // it was read before
        return;
      }
      telling = true;
      try {
        const token = await model.token();
        await inBackground((hub, signal) =>
          markSeen(hub, model.sessionId, lastSeq, { token, signal }).catch((error) => {
            // It is the session's token that is refused, as by a hub that has lost its sessions: no sign-in would help.
            if (!(error instanceof HubError && [401, 403, 404].includes(error.status ?? 0))) throw error;
          }),
        );
        told = lastSeq;
        refreshInbox();
      } catch {
        // The next look tries again.
      }
      telling = false;
    };
    const timer = setInterval(() => void look(), lookMs);
    return () => clearInterval(timer);
  }, [model]);
}

function atEnd(): boolean {
  const view = document.querySelector(".transcript");
  return view !== null && view.scrollHeight - view.scrollTop - view.clientHeight <= endPx;
}
