import { effect, signal } from "@preact/signals";
import { waitingCount } from "./inbox-feed.js";

/** What the page shows, for the window's title. */
export const pageTitle = signal("sessionhub");

/** Keeps the count of waiting questions in the window's title, and on the icon of the installed page. Called once. */
export function showCount(): void {
  effect(() => {
    const count = waitingCount.value;
    document.title = count > 0 ? `(${count}) ${pageTitle.value}` : pageTitle.value;
  });
  let shown = 0;
  effect(() => {
    const count = waitingCount.value;
    if (count === shown || !("setAppBadge" in navigator)) return;
    shown = count;
    // Not every browser that has it lets every page do it: the title says the same.
    void (count > 0 ? navigator.setAppBadge(count) : navigator.clearAppBadge()).catch(() => undefined);
  });
}
