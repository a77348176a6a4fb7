import { connect, HubApi, type SessionEvent, type SessionStream } from "@sessionhub/client";
import { readCurrent, readSettings } from "./settings.js";

interface Place {
  sessionId: string;
  /** The cursor up to which events were looked at. */
  after: string;
  /** Approvals that wait, by their ids. */
  pending: string[];
}

/** How often the place is written down. Milliseconds. */
const keepMs = 250;

/**
 * Follower watches the current session for approvals while the panel is closed.
 * A service worker is put to sleep after half a minute and its stream with it;
 * so the place is kept outside, and whatever wakes the worker calls `follow`,
 * which reads on from there: what came in between is seen late, but not missed.
 */
export class Follower {
  #stream: SessionStream | undefined;
  #place: Place | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #onApproval: (sessionId: string, interactionId: string, question: string | undefined) => void;
  readonly #onPending: (count: number) => void;

  /** `question` is undefined once the approval was answered. */
  constructor(
    onApproval: (sessionId: string, interactionId: string, question: string | undefined) => void,
    onPending: (count: number) => void,
  ) {
    this.#onApproval = onApproval;
    this.#onPending = onPending;
  }

  /** Follows the current session from where it was left. Does nothing when it does so already. */
  async follow(): Promise<void> {
    const [sessionId, settings] = [await readCurrent(), await readSettings()];
    if (this.#stream && this.#place?.sessionId === sessionId && this.#stream.state.phase !== "closed") return;
    this.#stream?.close();
    this.#stream = this.#place = undefined;
    if (sessionId === undefined) return this.#onPending(0);

    const kept = (await chrome.storage.session.get("place"))["place"] as Place | undefined;
    let place = kept?.sessionId === sessionId ? kept : undefined;
    if (!place) {
      // What is older is not news. What waits is asked for, so that the badge is right at once.
      const api = new HubApi({ baseUrl: settings.hubUrl, apiKey: settings.apiKey });
      const session = await api.getSession(sessionId);
      const approvals = await api.approvals(sessionId);
      const elicitations = await api.elicitations(sessionId);
      place = {
        sessionId,
        after: `${session.epoch}-${session.lastSeq}`,
        pending: [...approvals, ...elicitations].map(({ interactionId }) => interactionId),
      };
    }
    this.#place = place;
    this.#onPending(place.pending.length);
    this.#stream = connect({
      baseUrl: settings.hubUrl,
      apiKey: settings.apiKey || undefined,
      sessionId,
      after: place.after,
      transport: "sse",
      onEvent: (event) => this.#see(event),
    });
  }

  /** Begins anew with what the settings say now. */
  async restart(): Promise<void> {
    this.#stream?.close();
    this.#stream = undefined;
    await this.follow();
  }

  #see(event: SessionEvent): void {
    const place = this.#place!;
    place.after = this.#stream!.after;
    if (event.type === "tool_approval" || event.type === "elicitation") {
      const { interactionId } = event.data;
      place.pending = [...place.pending.filter((id) => id !== interactionId), interactionId];
      const question = event.type === "elicitation" ? event.data.message : event.data.title;
      this.#onApproval(place.sessionId, interactionId, question);
    } else if (event.type === "approval_resolved" || event.type === "elicitation_resolved") {
      place.pending = place.pending.filter((id) => id !== event.data.interactionId);
      this.#onApproval(place.sessionId, event.data.interactionId, undefined);
    } else {
      this.#timer ??= setTimeout(() => this.#keep(), keepMs);
      return;
    }
    this.#onPending(place.pending.length);
    this.#keep();
  }

  #keep(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    void chrome.storage.session.set({ place: this.#place });
  }
}
