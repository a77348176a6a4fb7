import type { Session } from "@sessionhub/client";
import { sessionName } from "./format.js";

/** Hands a file to the user. */
export function saveFile(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has taken hold of it by then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function fileName(session: Session | undefined, sessionId: string, ending: string): string {
  const name = (session ? sessionName(session) : sessionId)
    .replaceAll(/[^\p{L}\p{N}._-]+/gu, "-")
    .replaceAll(/^[-.]+|-+$/g, "");
  return `${name.slice(0, 60) || "session"}.${ending}`;
}
