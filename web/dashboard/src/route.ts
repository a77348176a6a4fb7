import { computed, signal } from "@preact/signals";

export type Route =
  | { page: "home" }
  | { page: "new" }
  | { page: "operations" }
  | { page: "session"; sessionId: string }
  /** A read-only link of somebody's: nothing but this session. */
  | { page: "shared"; sessionId: string; token: string | undefined };

const hash = signal(location.hash);
window.addEventListener("hashchange", () => (hash.value = location.hash));

/** Where the page is. It is kept in the URL's fragment, so that a reload stays there and a link leads there. */
export const route = computed<Route>(() => {
  const session = /^#\/(s|view)\/([^/?]+)(?:\/([\w.-]+))?/.exec(hash.value);
  if (session) {
    try {
      const sessionId = decodeURIComponent(session[2]!);
      return session[1] === "s" ? { page: "session", sessionId } : { page: "shared", sessionId, token: session[3] };
    } catch {
      return { page: "home" }; // a broken escape
    }
  }
  if (hash.value === "#/operations") return { page: "operations" };
  return hash.value === "#/new" ? { page: "new" } : { page: "home" };
});

export function sessionHref(sessionId: string): string {
  return `#/s/${encodeURIComponent(sessionId)}`;
}

/** A link for somebody who may only look. The token is in the fragment, which no browser sends to a server. */
export function sharedHref(sessionId: string, token: string): string {
  return `#/view/${encodeURIComponent(sessionId)}/${token}`;
}

/** Takes the token of a shared link out of the address bar and the history. */
export function hideToken(sessionId: string): void {
  history.replaceState(history.state, "", `#/view/${encodeURIComponent(sessionId)}`);
}

export function go(href: string): void {
  location.hash = href;
}
