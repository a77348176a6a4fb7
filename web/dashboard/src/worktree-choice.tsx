import { useEffect, useState } from "preact/hooks";
import { prepareWorktree, type PreparedWorktree } from "@sessionhub/client/files";
import { errorText } from "./format.js";
import { asUser } from "./hub.js";
import { exactLine } from "./text.js";

/** How long somebody may type in the directory before a worktree of it is prepared. Milliseconds. */
const typingMs = 600;

/** Whether a new session gets a worktree. When it is chosen, the hub begins to make one. */
export function WorktreeChoice({
  provider,
  directory,
  chosen,
  choose,
}: {
  provider: string;
  directory: string;
  chosen: boolean;
  choose: (wanted: boolean) => void;
}) {
  const [found, setFound] = useState<PreparedWorktree>();
  const [problem, setProblem] = useState("");
  useEffect(() => {
    setFound(undefined);
    setProblem("");
    if (!chosen) return;
    let current = true;
    const wanted = { ...(provider && { provider }), ...(directory.trim() && { workingDirectory: directory.trim() }) };
    const timer = setTimeout(() => {
      asUser((hub) => prepareWorktree(hub, wanted)).then(
        (answer) => current && setFound(answer),
        (error: unknown) => current && setProblem(errorText(error)),
      );
    }, typingMs);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [provider, directory, chosen]);
  return (
    <div class="field">
      <label class="check">
        <input
          type="checkbox"
          checked={chosen}
          onChange={(event) => choose(event.currentTarget.checked)}
          aria-describedby="worktree-hint"
          data-testid="worktree-choice"
        />
        <span>In a git worktree of its own</span>
      </label>
      <small class="muted" id="worktree-hint" role="status" data-testid="worktree-hint">
        {problem ? (
          <span class="problem">{problem}</span>
        ) : found ? (
          `It begins at ${found.base === undefined ? "" : `${exactLine(found.base)}, `}${found.commit.slice(0, 8)}, without what is not committed.`
        ) : (
          "The agent works on a branch, beside your files. You merge its work, or throw it away."
        )}
      </small>
    </div>
  );
}
