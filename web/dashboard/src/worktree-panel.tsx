import { useEffect, useState } from "preact/hooks";
import type { WorktreeAction, WorktreeStatus } from "@sessionhub/client/files";
import type { SessionFiles } from "./files.js";
import { errorText } from "./format.js";
import { exactLine } from "./text.js";

/** The session's worktree: its branch, what of its work is not merged, and what can be done with it. */
export function WorktreePanel({
  files,
  mayAct,
  onActed,
}: {
  files: SessionFiles;
  mayAct: boolean;
  onActed: (state: WorktreeStatus["state"]) => void;
}) {
  const [tree, setTree] = useState<WorktreeStatus>();
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(true);
  const [asking, setAsking] = useState<"commit" | "discard">();
  const run = async (call: () => Promise<WorktreeStatus>) => {
    setBusy(true);
    setProblem("");
    try {
      const now = await call();
      setTree(now);
      setAsking(undefined);
      return now;
    } catch (error) {
      setProblem(errorText(error));
      return undefined;
    } finally {
      setBusy(false);
    }
  };
  const read = () => run(() => files.worktree());
  useEffect(() => void read(), []);
  const act = async (action: WorktreeAction) => {
    const now = await run(() => files.actOnWorktree(action));
    if (now) onActed(now.state);
  };
  const version = tree?.version === undefined ? {} : { version: tree.version };
  const gone = tree?.state === "discarded";
  return (
    <section class="worktree" aria-label="Worktree" data-testid="worktree">
      {tree && (
        <p class="files-summary">
          <span data-testid="worktree-state">
            In a worktree of its own, on <code>{exactLine(tree.branch)}</code>
            {tree.base !== undefined && (
              <>
                {" "}
                from <code>{exactLine(tree.base)}</code>
              </>
            )}
            . {stateText(tree)}
          </span>
          <button type="button" class="quiet" disabled={busy} onClick={() => void read()}>
            Look again
          </button>
        </p>
      )}
      {tree?.directory !== undefined && (
        <p class="muted">
          <code>{exactLine(tree.directory)}</code>
        </p>
      )}
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {tree && mayAct && !gone && !tree.making && asking === undefined && (
        <div class="actions">
          <button
            type="button"
            class="button primary"
            disabled={busy || (tree.merged && tree.ahead === 0)}
            onClick={() => (tree.uncommitted > 0 ? setAsking("commit") : void act({ action: "merge" }))}
            data-testid="worktree-merge"
          >
            Merge{tree.base === undefined ? "" : ` into ${exactLine(tree.base)}`}
          </button>
          <button
            type="button"
            class="button"
            disabled={busy || tree.state === "kept"}
            onClick={() => void act({ action: "keep" })}
            data-testid="worktree-keep"
          >
            Keep
          </button>
          <button
            type="button"
            class="button danger"
            disabled={busy}
            onClick={() => setAsking("discard")}
            data-testid="worktree-discard"
          >
            Throw away…
          </button>
        </div>
      )}
      {tree && asking === "commit" && (
        <div class="actions" role="group" aria-label="Merge">
          <span>{filesText(tree.uncommitted)} not committed. A merge takes only what is.</span>
          <button
            type="button"
            class="button primary"
            disabled={busy}
            onClick={() => void act({ action: "merge", commit: true })}
            data-testid="worktree-commit"
          >
            Commit all and merge
          </button>
          <button type="button" class="button" onClick={() => setAsking(undefined)}>
            Cancel
          </button>
        </div>
      )}
      {tree && asking === "discard" && (
        <div class="actions" role="group" aria-label="Throw away">
          <span>
            {tree.merged
              ? "Nothing would be lost. The session ends its work."
              : `${lostText(tree)} would be lost for good.`}
          </span>
          <button
            type="button"
            class="button danger"
            disabled={busy}
            onClick={() => void act({ action: "discard", ...version })}
            data-testid="worktree-discard-confirm"
          >
            {tree.merged ? "Throw away" : "Throw away all of it"}
          </button>
          <button type="button" class="button" onClick={() => setAsking(undefined)}>
            Cancel
          </button>
        </div>
      )}
    </section>
  );
}

function filesText(count: number): string {
  return count === 1 ? "1 file is" : `${count.toLocaleString()} files are`;
}

function commitsText(count: number): string {
  return count === 1 ? "1 commit" : `${count.toLocaleString()} commits`;
}

/** What is lost with the worktree. */
function lostText({ ahead, uncommitted, unfinished }: WorktreeStatus): string {
  const parts = [
    ahead > 0 && commitsText(ahead),
    uncommitted > 0 &&
      (uncommitted === 1 ? "1 file that is not committed" : `${uncommitted} files that are not committed`),
    unfinished !== undefined && `a ${unfinished} under way`,
  ].filter(Boolean);
  return parts.length > 0 ? parts.join(" and ") : "Work on another branch or in a submodule";
}

function stateText(tree: WorktreeStatus): string {
  if (tree.state === "discarded") return "It was thrown away: the session runs no more.";
  if (tree.making) return "It is being made.";
  const kept = tree.state === "kept" ? " It stays when the session ends." : "";
  const gone = tree.baseGone ? " Its base is gone." : "";
  if (tree.merged) return `All of its work is merged.${kept}${gone}`;
  const parts = [
    tree.ahead > 0 && `${commitsText(tree.ahead)} not merged`,
    tree.uncommitted > 0 && `${filesText(tree.uncommitted)} not committed`,
    (tree.conflicts ?? 0) > 0 && `${tree.conflicts} in conflict`,
    tree.unfinished !== undefined && `a ${tree.unfinished} is under way`,
    tree.behind > 0 && `${commitsText(tree.behind)} behind`,
  ].filter(Boolean);
  return `${parts.length > 0 ? `${parts.join(", ")}.` : "It has work elsewhere."}${kept}${gone}`;
}
