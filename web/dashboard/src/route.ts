import { computed, signal } from "@preact/signals";

export type Route = { page: "home" } | { page: "new" } | { page: "session"; sessionId: string };

const hash = signal(location.hash);
window.addEventListener("hashchange", () => (hash.value = location.hash));

/** Where the page is. It is kept in the URL's fragment, so that a reload stays there and a link leads there. */
export const route = computed<Route>(() => {
  const session = /^#\/s\/([^/?]+)/.exec(hash.value);
  if (session) {
    try {
      return { page: "session", sessionId: decodeURIComponent(session[1]!) };
    } catch {
      return { page: "home" }; // a broken escape
    }
  }
  return hash.value === "#/new" ? { page: "new" } : { page: "home" };
});

export function sessionHref(sessionId: string): string {
  return `#/s/${encodeURIComponent(sessionId)}`;
}

export function go(href: string): void {
  location.hash = href;
}
