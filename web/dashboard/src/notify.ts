import { signal } from "@preact/signals";
import { exactLine, shortLine } from "./text.js";

// Browser notifications for approvals. They are shown while the page is out of
// sight only: who looks at it sees the badge.

const supported = "Notification" in window;

/** `default` is: not asked yet. Undefined where a page cannot notify at all. */
export const permission = signal<NotificationPermission | undefined>(supported ? Notification.permission : undefined);

/** Must be called from a click, or the browser refuses without asking. */
export async function askPermission(): Promise<void> {
  if (supported) permission.value = await Notification.requestPermission();
}

/**
 * Sessions whose stream is live on this page and tells of each approval itself,
 * by what is asked. The list, which knows numbers only, is silent about them.
 */
export const followed = new Set<string>();

/** One for each session at a time: the next replaces it. */
export function notifyApproval(sessionId: string, session: string, question: string): void {
  if (permission.peek() !== "granted" || !document.hidden) return;
  try {
    const notification = new Notification(`${shortLine(session, 80)} needs you`, {
      body: shortLine(exactLine(question), 300),
      tag: `sessionhub.${sessionId}`,
    });
    notification.onclick = () => {
      window.focus();
      location.hash = `#/s/${encodeURIComponent(sessionId)}`;
      notification.close();
    };
  } catch {
    // Some phones have the class and refuse it to pages.
    permission.value = undefined;
  }
}
