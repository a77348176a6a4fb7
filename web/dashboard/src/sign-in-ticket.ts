import { signal } from "@preact/signals";

const mark = "#sign-in=";

/** The ticket that the page was opened with, until it is used or refused. */
export const ticket = signal<string | undefined>(undefined);

/** Takes a ticket out of the address bar and the history. To be called before anything else reads the address. */
export function takeTicket(): void {
  const { hash } = location;
  if (!hash.startsWith(mark)) return;
  ticket.value = decoded(hash.slice(mark.length));
  history.replaceState(history.state, "", "#/");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Whom the ticket signs in, as the ticket says; empty if it says nothing that can be read. */
export function userOf(text: string): string {
  const [name = ""] = text.split(".");
  try {
    const bytes = Uint8Array.from(atob(name.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return "";
  }
}

/** What a list of browsers calls this one, such as "Firefox on Linux". */
export function browserName(agent: string): string {
  const find = (names: [RegExp, string][]) => names.find(([sign]) => sign.test(agent))?.[1];
  const browser = find([
    [/Edg\//, "Edge"],
    [/OPR\//, "Opera"],
    [/Firefox\//, "Firefox"],
    [/Chrom(e|ium)\//, "Chrome"],
    [/Safari\//, "Safari"],
  ]);
  const system = find([
    [/Android/, "Android"],
    [/iPhone|iPad/, "iOS"],
    [/Windows/, "Windows"],
    [/Mac OS X/, "macOS"],
    [/Linux/, "Linux"],
  ]);
  return [browser ?? "A browser", system].filter(Boolean).join(" on ");
}
