import { useEffect, useRef, useState } from "preact/hooks";
import {
  uuid,
  type AgentSession,
  type NewSession as Request,
  type Provider,
  type ProviderList,
  type Session,
} from "@sessionhub/client";
import { inBackground } from "./background.js";
import { errorText } from "./format.js";
import { asUser, keepToken } from "./hub.js";
import { go, sessionHref } from "./route.js";
import { retrying } from "./retrying.js";
import { refreshSessions } from "./session-list.js";
import { TakeUp } from "./take-up.js";
import { line } from "./text.js";
import { WorktreeChoice } from "./worktree-choice.js";

/** What the next new session is to be like. */
let like: Pick<Session, "provider" | "workingDirectory" | "title" | "agentOptions" | "worktree"> | undefined;

export function startLike(session: Session): void {
  like = session;
}

/** How long a busy hub is asked again before the form says so. Milliseconds. */
const createRetryMs = 8_000;

export function NewSession() {
  const [providers, setProviders] = useState<Provider[]>([]);
  const [provider, setProvider] = useState(like?.provider ?? "");
  const [directory, setDirectory] = useState(like?.workingDirectory ?? "");
  const [title, setTitle] = useState(like?.title ?? "");
  const [taken, setTaken] = useState<{ session: AgentSession; workspace: string }>();
  const [worktree, setWorktree] = useState(like?.worktree !== undefined);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const [model] = useState(like);
  // One key for one set of answers: a second click, or a try after a lost
  // answer, gives the same session.
  const attempt = useRef({ body: "", key: "" });

  useEffect(() => {
    like = undefined;
    inBackground((hub, signal) => hub.providerList({ signal })).then(
      (all) => {
        setProviders(all.providers);
        setProvider((chosen) => (all.providers.some(({ name }) => name === chosen) ? chosen : preferred(all)));
      },
      (error) => setProblem(errorText(error)),
    );
  }, []);

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setProblem("");
    const request: Request = {};
    if (provider) request.provider = provider;
    if (directory.trim()) request.workingDirectory = directory.trim();
    if (title.trim()) request.title = title.trim();
    // The secrets of its MCP servers are in no answer of the hub: those stay behind.
    const { mcpServers: _, ...options } = model?.agentOptions ?? {};
    if (model?.provider === provider && Object.keys(options).length > 0) request.agentOptions = options;
    if (taken) {
      request.workingDirectory = taken.session.workingDirectory;
      request.agentSession = taken.session.agentSession;
      request.workspace = taken.workspace;
    } else if (worktree) request.worktree = true;
    const body = JSON.stringify(request);
    if (attempt.current.body !== body) attempt.current = { body, key: uuid() };
    try {
      const created = await retrying(
        () => asUser((hub) => hub.createSession(request, { idempotencyKey: attempt.current.key })),
        createRetryMs,
      );
      keepToken(created.sessionId, created.token);
      refreshSessions();
      go(sessionHref(created.sessionId));
    } catch (error) {
      setProblem(errorText(error));
      setBusy(false);
    }
  };

  return (
    <div class="form-page">
      <a class="back" href="#/">
        <span aria-hidden="true">←</span> Sessions
      </a>
      <form class="card" onSubmit={submit} aria-labelledby="new-session-title">
        <h1 id="new-session-title">New session</h1>
        <label class="field">
          <span>Agent</span>
          <select
            value={provider}
            onChange={(event) => {
              setProvider(event.currentTarget.value);
              setTaken(undefined);
            }}
            data-testid="provider"
          >
            {providers.map((one) => (
              <option key={one.name} value={one.name}>
                {label(one)}
              </option>
            ))}
          </select>
        </label>
        <About provider={providers.find(({ name }) => name === provider)} />
        {providers.length > 0 && providers.every(({ name }) => name === demo) && (
          <p class="agent-about muted" data-testid="add-agent">
            <span>
              Only the demo agent is here. On the machine where agents run, <code>sessionhub agents</code> lists real
              ones and the command that installs each. Open this form again some seconds afterwards.
            </span>
          </p>
        )}
        <label class="field">
          <span>Working directory</span>
          <input
            type="text"
            value={directory}
            onInput={(event) => setDirectory(event.currentTarget.value)}
            placeholder="The hub's workspace root"
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            aria-describedby="workdir-hint"
            data-testid="workdir"
          />
          <small class="muted" id="workdir-hint">
            Where the agent works. It has to lie in the hub's workspace.
          </small>
        </label>
        {!taken && <WorktreeChoice provider={provider} directory={directory} chosen={worktree} choose={setWorktree} />}
        <label class="field">
          <span>Title</span>
          <input
            type="text"
            value={title}
            onInput={(event) => setTitle(event.currentTarget.value)}
            placeholder="Optional"
            autocomplete="off"
            maxLength={200}
            data-testid="title"
          />
        </label>
        <TakeUp
          key={provider}
          provider={provider}
          directory={directory}
          chosen={taken?.session}
          choose={(session, workspace) => setTaken(session && { session, workspace })}
        />
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        <div class="actions">
          <button type="submit" class="button primary" disabled={busy} data-testid="create">
            {busy ? "Creating…" : "Create"}
          </button>
          <a class="button" href="#/">
            Cancel
          </a>
        </div>
      </form>
    </div>
  );
}

const demo = "demo";

/** What an agent is called, and whether it can be used. Its title is a worker's words, so its name stands beside it. */
function label({ name, title, available, login }: Provider): string {
  const called = title && title.toLowerCase() !== name ? `${line(title)} (${line(name)})` : line(title || name);
  if (!available) return `${called}, no worker at present`;
  return login === "missing" ? `${called}, not logged in` : called;
}

/** The chosen agent's picture and words. A picture elsewhere is not loaded: its server would learn who looks. */
function About({ provider }: { provider: Provider | undefined }) {
  if (!provider) return null;
  const { icon, description, login } = provider;
  const words = [description && line(description), login === "missing" && "No login was seen on its machine."];
  const text = words.filter(Boolean).join(" ");
  const picture = icon?.startsWith("data:image/") ? icon : undefined;
  if (!text && !picture) return null;
  return (
    <p class="agent-about muted" data-testid="agent-about">
      {picture && <img src={picture} alt="" width="24" height="24" />}
      <span>{text}</span>
    </p>
  );
}

/** The hub's own choice. An earlier hub has none: `demo` then, where it is there. */
function preferred({ providers, default: first }: ProviderList): string {
  const usable = providers.filter((provider) => provider.available);
  const named = (wanted: string | undefined) => usable.find(({ name }) => name === wanted);
  return (named(first) ?? named(demo) ?? usable[0] ?? providers[0])?.name ?? "";
}
