import {
  changes,
  fileContent,
  fileDiff,
  listFiles,
  actOnWorktree,
  searchFiles,
  worktree,
  type ChangedFile,
  type Changes,
  type FileEntry,
  type WorktreeAction,
  type WorktreeStatus,
} from "@sessionhub/client/files";
import type { CallOptions, HubApi } from "@sessionhub/client";
import { api, asUser, sharedToken } from "./hub.js";

/** As much of a file is shown. Bytes. */
const maxShown = 1 << 20;
/** As much of a diff is read at once. Pages. */
const diffPages = 16;

export interface ShownFile {
  /** Undefined: it is not text. */
  text: string | undefined;
  size: number;
  /** `text` is only the beginning. */
  cut: boolean;
}

/** SessionFiles reads a session's working directory. Its methods reject as the hub's do. */
export class SessionFiles {
  readonly #sessionId: string;
  readonly #token: string | undefined;

  /** Without a token it reads as the page's user. */
  constructor(sessionId: string, token?: string) {
    this.#sessionId = sessionId;
    this.#token = token;
  }

  #ask<T>(call: (hub: HubApi, options: CallOptions) => Promise<T>): Promise<T> {
    return this.#token === undefined ? asUser((hub) => call(hub, {})) : call(api.peek(), { token: this.#token });
  }

  worktree(): Promise<WorktreeStatus> {
    return this.#ask((hub, options) => worktree(hub, this.#sessionId, options));
  }

  actOnWorktree(action: WorktreeAction): Promise<WorktreeStatus> {
    return this.#ask((hub, options) => actOnWorktree(hub, this.#sessionId, action, options));
  }

  changes(): Promise<Changes> {
    return this.#ask((hub, options) => changes(hub, this.#sessionId, options));
  }

  /** The diff of a file, or its beginning. A diff that changes again and again while it is read is `cut`. */
  async diff({ path, oldPath }: ChangedFile): Promise<{ text: string; cut: boolean }> {
    let read = { text: "", version: "", offset: 0 };
    for (let page = 0; page < diffPages; page++) {
      const { offset } = read;
      const got = await this.#ask((hub, options) => fileDiff(hub, this.#sessionId, { path, oldPath, offset }, options));
      if (offset > 0 && got.version !== read.version) {
        read = { text: "", version: "", offset: 0 };
        continue;
      }
      const text = read.text + got.diff;
      if (got.nextOffset === undefined) return { text, cut: got.truncated === true };
      read = { text, version: got.version, offset: got.nextOffset };
    }
    return { text: read.text, cut: true };
  }

  /** A page of a directory. */
  list(path: string, after?: string): Promise<{ entries: FileEntry[]; nextAfter?: string }> {
    return this.#ask((hub, options) =>
      listFiles(hub, this.#sessionId, after === undefined ? { path } : { path, after }, options),
    );
  }

  async search(query: string, limit: number): Promise<string[]> {
    const found = await this.#ask((hub, options) => searchFiles(hub, this.#sessionId, { query, limit }, options));
    return found.files.map(({ path, type }) => (type === "directory" ? `${path}/` : path));
  }

  async open(path: string): Promise<ShownFile> {
    const answer = await this.#ask((hub, options) => fileContent(hub, this.#sessionId, path, options));
    const size = Number(answer.headers.get("Content-Length"));
    if (!answer.headers.get("Content-Type")?.startsWith("text/")) {
      await answer.body?.cancel();
      return { text: undefined, size, cut: false };
    }
    return { ...(await beginning(answer)), size };
  }
}

async function beginning(answer: Response): Promise<{ text: string; cut: boolean }> {
  const decoder = new TextDecoder();
  const reader = answer.body!.getReader();
  let text = "";
  for (let bytes = 0; ; ) {
    const { value, done } = await reader.read();
    if (done) return { text: text + decoder.decode(), cut: false };
    text += decoder.decode(value, { stream: true });
    bytes += value.length;
    if (bytes > maxShown) {
      await reader.cancel();
      return { text, cut: true };
    }
  }
}

/** The files of a session, if whoever looks may read them: the page's user, or a link whose token has the scope. */
export function filesOf(sessionId: string, readOnly: boolean): SessionFiles | undefined {
  if (!readOnly) return new SessionFiles(sessionId);
  const token = sharedToken(sessionId);
  return token !== undefined && scopeOf(token).includes("files") ? new SessionFiles(sessionId, token) : undefined;
}

function scopeOf(token: string): string[] {
  try {
    const claims = JSON.parse(atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"))) as { scope?: unknown };
    return typeof claims.scope === "string" ? claims.scope.split(" ") : [];
  } catch {
    return [];
  }
}
