import { useEffect, useMemo, useState } from "preact/hooks";
import type { ChangedFile, Changes, FileEntry } from "@sessionhub/client/files";
import { hunkLines, readPatch } from "./diff.js";
import { Exact } from "./exact.js";
import type { SessionFiles, ShownFile } from "./files.js";
import { errorText, sizeText } from "./format.js";
import { Dialog } from "./menu.js";
import { exactLine } from "./text.js";
import { Block, Diff } from "./tool-content.js";
import { WorktreePanel } from "./worktree-panel.js";

type At = { tab: "changes" } | { tab: "changes"; file: ChangedFile } | { tab: "files"; path: string; file?: string };

/**
 * What the session has changed in its working directory, and what is in there. With `worktree`, also what becomes of
 * its worktree; `act`: whoever looks may decide that.
 */
export function FilesDialog({
  files,
  worktree,
  onClose,
}: {
  files: SessionFiles;
  worktree: "act" | "see" | undefined;
  onClose: () => void;
}) {
  const [acted, setActed] = useState(0);
  const [gone, setGone] = useState(false);
  const [at, setAt] = useState<At>({ tab: "changes" });
  const tab = (name: At["tab"], text: string, to: At) => (
    <button
      type="button"
      class="tab"
      aria-current={at.tab === name ? "page" : undefined}
      onClick={() => setAt(to)}
      data-testid={`tab-${name}`}
    >
      {text}
    </button>
  );
  return (
    <Dialog labelledBy="files-title" onClose={onClose} wide>
      <header class="files-head">
        <h2 id="files-title">Working directory</h2>
        <nav class="tabs" aria-label="What to show">
          {tab("changes", "Changes", { tab: "changes" })}
          {tab("files", "All files", { tab: "files", path: "" })}
        </nav>
        <button type="button" class="button" onClick={onClose} data-testid="files-close">
          Close
        </button>
      </header>
      <div class="files-body">
        {at.tab === "changes" && !("file" in at) && (
          <>
            {worktree && (
              <WorktreePanel
                files={files}
                mayAct={worktree === "act"}
                onActed={(state) => {
                  setGone(state === "discarded");
                  setActed(acted + 1);
                }}
              />
            )}
            {!gone && <ChangeList key={acted} files={files} onOpen={(file) => setAt({ tab: "changes", file })} />}
          </>
        )}
        {at.tab === "changes" && "file" in at && (
          <>
            <Back text="All changes" onClick={() => setAt({ tab: "changes" })} />
            <FilePatch files={files} file={at.file} />
          </>
        )}
        {at.tab === "files" && at.file === undefined && (
          <Directory
            key={at.path}
            files={files}
            path={at.path}
            onOpen={(path, type) => setAt(type === "directory" ? { tab: "files", path } : { ...at, file: path })}
          />
        )}
        {at.tab === "files" && at.file !== undefined && (
          <>
            <Back
              text={at.path === "" ? "All files" : exactLine(at.path)}
              onClick={() => setAt({ tab: "files", path: at.path })}
            />
            <OneFile files={files} path={at.file} />
          </>
        )}
      </div>
    </Dialog>
  );
}

function Back({ text, onClick }: { text: string; onClick: () => void }) {
  return (
    <button type="button" class="quiet files-back" onClick={onClick} data-testid="files-back">
      ← {text}
    </button>
  );
}

/** What a call gave, or why not. It is made anew when `key` is another. */
function useAnswer<T>(key: string, call: () => Promise<T>): { answer: T | undefined; problem: string } {
  const [state, setState] = useState<{ key: string; answer: T | undefined; problem: string }>();
  useEffect(() => {
    let current = true;
    const set = (answer: T | undefined, problem: string) => {
      if (current) setState({ key, answer, problem });
    };
    call().then(
      (answer) => set(answer, ""),
      (error: unknown) => set(undefined, errorText(error)),
    );
    return () => {
      current = false;
    };
  }, [key]);
  return state?.key === key ? state : { answer: undefined, problem: "" };
}

function Waiting({ problem }: { problem: string }) {
  return problem ? (
    <p class="problem" role="alert">
      {problem}
    </p>
  ) : (
    <p class="muted" role="status">
      Reading…
    </p>
  );
}

const statusLetters = { added: "A", modified: "M", deleted: "D", renamed: "R", untracked: "A", conflicted: "!" };
const statusTexts = {
  added: "added",
  modified: "modified",
  deleted: "deleted",
  renamed: "renamed",
  untracked: "new, not in git",
  conflicted: "in conflict",
};

function ChangeList({ files, onOpen }: { files: SessionFiles; onOpen: (file: ChangedFile) => void }) {
  const [turn, setTurn] = useState(0);
  const { answer, problem } = useAnswer(String(turn), () => files.changes());
  if (!answer) return <Waiting problem={problem} />;
  if (!answer.repository) return <p class="muted">The working directory is in no git repository.</p>;
  return (
    <>
      <p class="muted files-summary">
        <span>{summary(answer)}</span>
        <button type="button" class="quiet" onClick={() => setTurn(turn + 1)} data-testid="files-again">
          Read again
        </button>
      </p>
      <ul class="file-list" data-testid="changes">
        {answer.files.map((file) => (
          <li key={file.path}>
            <button type="button" class="file-row" onClick={() => onOpen(file)}>
              <span class="file-status" data-status={file.status} title={statusTexts[file.status]}>
                {statusLetters[file.status]}
                <span class="unseen"> {statusTexts[file.status]}</span>
              </span>
              <code class="file-path">
                {file.oldPath !== undefined && (
                  <span class="muted">
                    <Exact text={file.oldPath} oneLine /> →{" "}
                  </span>
                )}
                <Exact text={file.path} oneLine />
              </code>
              <span class="diff-count">
                {file.binary && <span class="muted">binary</span>}
                {file.additions !== undefined && (
                  <>
                    <span class="plus">+{file.additions}</span> <span class="minus">−{file.deletions}</span>
                  </>
                )}
              </span>
            </button>
          </li>
        ))}
      </ul>
      {answer.truncated && <p class="muted">More files have changed.</p>}
      {answer.unnamed !== undefined && (
        <p class="muted">{answer.unnamed} more, whose names are no text, cannot be shown.</p>
      )}
    </>
  );
}

function summary({ files, branch, since, base }: Changes): string {
  const count = files.length === 1 ? "1 file" : `${files.length.toLocaleString()} files`;
  const from = since === "start" ? "since the session began" : "since the last commit";
  const commit = base === undefined ? "" : ` at ${base.slice(0, 8)}`;
  return `${files.length === 0 ? "Nothing has" : `${count} ha${files.length === 1 ? "s" : "ve"}`} changed ${from}${commit}${branch === undefined ? "" : `, on ${exactLine(branch)}`}.`;
}

function FilePatch({ files, file }: { files: SessionFiles; file: ChangedFile }) {
  const { answer, problem } = useAnswer(file.path, () => files.diff(file));
  const patch = useMemo(() => answer && readPatch(answer.text), [answer]);
  const lines = useMemo(() => (patch ? hunkLines(patch.hunks) : []), [patch]);
  if (!patch) return <Waiting problem={problem} />;
  return (
    <div data-testid="file-diff">
      {lines.length > 0 ? <Diff path={file.path} lines={lines} /> : <Block text={patch.head.join("\n").trimEnd()} />}
      {answer?.cut && <p class="muted">This is only the beginning of it.</p>}
    </div>
  );
}

function Directory({
  files,
  path,
  onOpen,
}: {
  files: SessionFiles;
  path: string;
  onOpen: (path: string, type: FileEntry["type"]) => void;
}) {
  const [entries, setEntries] = useState<FileEntry[]>([]);
  const [after, setAfter] = useState("");
  const { answer, problem } = useAnswer(after, () => files.list(path, after === "" ? undefined : after));
  useEffect(() => {
    if (answer) setEntries((before) => [...before, ...answer.entries]);
  }, [answer]);
  const within = (name: string) => (path === "" ? name : `${path}/${name}`);
  const above = path.split("/");
  return (
    <>
      <nav class="crumbs" aria-label="Directory">
        <button type="button" class="quiet" onClick={() => onOpen("", "directory")}>
          All files
        </button>
        {path !== "" &&
          above.map((name, index) => (
            <>
              {" / "}
              <button
                type="button"
                class="quiet"
                onClick={() => onOpen(above.slice(0, index + 1).join("/"), "directory")}
              >
                <Exact text={name} oneLine />
              </button>
            </>
          ))}
      </nav>
      <ul class="file-list" data-testid="directory">
        {entries.map(({ name, type, size }) => (
          <li key={name}>
            <button
              type="button"
              class="file-row"
              disabled={type === "other"}
              onClick={() => onOpen(within(name), type)}
            >
              <code class="file-path">
                <Exact text={name} oneLine />
                {type === "directory" ? "/" : ""}
              </code>
              <span class="diff-count muted">{type === "file" ? sizeText(size) : type === "link" ? "link" : ""}</span>
            </button>
          </li>
        ))}
      </ul>
      {!answer && <Waiting problem={problem} />}
      {answer && entries.length === 0 && answer.entries.length === 0 && <p class="muted">It is empty.</p>}
      {answer?.nextAfter !== undefined && (
        <button type="button" class="button" onClick={() => setAfter(answer.nextAfter!)}>
          Show more
        </button>
      )}
    </>
  );
}

function OneFile({ files, path }: { files: SessionFiles; path: string }) {
  const { answer, problem } = useAnswer<ShownFile>(path, () => files.open(path));
  if (!answer) return <Waiting problem={problem} />;
  return (
    <div data-testid="file">
      <p class="muted files-summary">
        <code>
          <Exact text={path} oneLine />
        </code>
        <span>{sizeText(answer.size)}</span>
      </p>
      {answer.text === undefined ? (
        <p class="muted">It is no text.</p>
      ) : answer.text === "" ? (
        <p class="muted">It is empty.</p>
      ) : (
        <Block text={answer.text} />
      )}
      {answer.cut && <p class="muted">This is only the beginning of it.</p>}
    </div>
  );
}
