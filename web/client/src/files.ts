import type { CallOptions, HubApi } from "./api.js";
import type { SessionWorktree } from "./events.js";

// The files of a session's working directory, and what has changed in it. All of it needs
// the scope `files`. The functions reject as the methods of HubApi do; an answer that breaks
// off rejects with the error of `fetch`.

/** A `link` is a symbolic link; what it leads to is not looked at. */
export type FileType = "file" | "directory" | "link" | "other";

export interface FileEntry {
  name: string;
  type: FileType;
  /** Bytes. */
  size: number;
  modifiedAt: string;
}

/** A page of a directory, by name. More follow if there is a `nextAfter`. */
export interface FileList {
  path: string;
  entries: FileEntry[];
  nextAfter?: string;
}

/** The best matches of a search, the best one first. */
export interface FileMatches {
  files: { path: string; type: FileType }[];
  truncated?: boolean;
}

export type ChangeStatus = "added" | "modified" | "deleted" | "renamed" | "untracked" | "conflicted";

/** A file that git sees as changed. Lines are not counted in a binary file, and where that failed. */
export interface ChangedFile {
  path: string;
  oldPath?: string;
  status: ChangeStatus;
  additions?: number;
  deletions?: number;
  binary?: boolean;
}

/** What has changed since the session's `start`, or since the last commit (`head`) if the start is not known. */
export interface Changes {
  repository: boolean;
  branch?: string;
  /** The commit at the beginning. */
  base?: string;
  since?: "start" | "head";
  files: ChangedFile[];
  /** So many files are left out, since their names are not valid UTF-8. */
  unnamed?: number;
  truncated?: boolean;
}

/** A page of a unified diff. Pages of different versions do not belong together. */
export interface FileDiff {
  path: string;
  oldPath?: string;
  diff: string;
  offset: number;
  nextOffset?: number;
  size: number;
  version: string;
  truncated?: boolean;
}

/** What git says of a session's worktree now. */
export interface WorktreeStatus extends SessionWorktree {
  /** It is not there yet, and the fields below say nothing. */
  making?: boolean;
  head?: string;
  headBranch?: string;
  ahead: number;
  behind: number;
  baseGone?: boolean;
  uncommitted: number;
  conflicts?: number;
  /** Nothing would be lost without the worktree. */
  merged: boolean;
  unfinished?: string;
  /** It changes with the work. A discard of work that is not merged names it. */
  version?: string;
}

/** `commit` and `message` are of a merge, `version` is of a discard. */
export interface WorktreeAction {
  action: "merge" | "keep" | "discard";
  commit?: boolean;
  message?: string;
  version?: string;
}

/** What a session's worktree would begin with. `ready`: it takes no time. */
export interface PreparedWorktree {
  base?: string;
  commit: string;
  ready: boolean;
}

export function worktree(api: HubApi, sessionId: string, options: CallOptions = {}): Promise<WorktreeStatus> {
  return json(api.read(sessionId, "worktree", {}, options));
}

/** Merges, keeps or throws away. It needs the scope `write` too. */
export function actOnWorktree(
  api: HubApi,
  sessionId: string,
  action: WorktreeAction,
  options: CallOptions = {},
): Promise<WorktreeStatus> {
  return json(api.send("POST", `sessions/${encodeURIComponent(sessionId)}/worktree`, options, action));
}

/** Has a worktree made in advance, for a session that is about to be created. It needs an API key. */
export function prepareWorktree(
  api: HubApi,
  wanted: { provider?: string; workingDirectory?: string; userId?: string; base?: string },
  options: CallOptions = {},
): Promise<PreparedWorktree> {
  return json(api.send("POST", "worktrees", options, wanted));
}

export function listFiles(
  api: HubApi,
  sessionId: string,
  query: { path?: string; after?: string; limit?: number } = {},
  options: CallOptions = {},
): Promise<FileList> {
  return json(api.read(sessionId, "files", query, options));
}

export function searchFiles(
  api: HubApi,
  sessionId: string,
  query: { query: string; limit?: number },
  options: CallOptions = {},
): Promise<FileMatches> {
  return json(api.read(sessionId, "files/search", query, options));
}

/** The bytes of a file. The answer's `Content-Type` is that of its first bytes; text is always plain. */
export function fileContent(
  api: HubApi,
  sessionId: string,
  path: string,
  options: CallOptions = {},
): Promise<Response> {
  return api.read(sessionId, "files/content", { path }, options);
}

export function changes(api: HubApi, sessionId: string, options: CallOptions = {}): Promise<Changes> {
  return json(api.read(sessionId, "changes", {}, options));
}

export function fileDiff(
  api: HubApi,
  sessionId: string,
  query: { path: string; oldPath?: string | undefined; offset?: number },
  options: CallOptions = {},
): Promise<FileDiff> {
  return json(api.read(sessionId, "changes/diff", query, options));
}

async function json<T>(answer: Promise<Response>): Promise<T> {
  return (await (await answer).json()) as T;
}
