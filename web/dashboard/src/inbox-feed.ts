import { computed, signal } from "@preact/signals";
import { readInbox, type Inbox } from "@sessionhub/client/inbox";
import { inBackground } from "./background.js";
import { errorText, waitingQuestions } from "./format.js";

// Where the page has its inbox from: it asks the hub every few seconds while it is seen.
// Nobody else knows that.

const refreshMs = 3_000;
/** While nobody looks, the count in the title still goes on. */
const hiddenRefreshMs = 15_000;

/** The inbox as it was read last; undefined until then. */
export const inbox = signal<Inbox | undefined>(undefined);
/** Why it could not be read last; empty: it could. */
export const inboxProblem = signal("");
/** How many questions wait for the user, over all sessions. */
export const waitingCount = computed(() =>
  (inbox.value?.needsYou ?? []).reduce((sum, { session }) => sum + waitingQuestions(session), 0),
);

let asked: (() => void) | undefined;

/** Reads the inbox now: after something was done that changes it. */
export function refreshInbox(): void {
  asked?.();
}

/** Keeps `inbox` up to date until the function that it returns is called. */
export function followInbox(): () => void {
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let reading = false;
  let again = false;
  const refresh = async () => {
    clearTimeout(timer);
    again = reading;
    if (reading || stopped) return;
    reading = true;
    try {
      const read = await inBackground((hub, signal) => readInbox(hub, {}, { signal }));
      if (!stopped) inbox.value = read;
      inboxProblem.value = "";
    } catch (error) {
      inboxProblem.value = errorText(error);
    }
    reading = false;
    if (stopped) return;
    // What was asked for meanwhile may have been too late for that answer.
    if (again) void refresh();
    else timer = setTimeout(refresh, document.hidden ? hiddenRefreshMs : refreshMs);
  };
  const shown = () => {
    if (!document.hidden) void refresh();
  };
  asked = () => void refresh();
  void refresh();
  window.addEventListener("focus", shown);
  document.addEventListener("visibilitychange", shown);
  return () => {
    stopped = true;
    asked = undefined;
    clearTimeout(timer);
    inbox.value = undefined;
    window.removeEventListener("focus", shown);
    document.removeEventListener("visibilitychange", shown);
  };
}
