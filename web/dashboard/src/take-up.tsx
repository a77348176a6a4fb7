import { useState } from "preact/hooks";
import type { AgentSession, AgentSessions } from "@sessionhub/client";
import { ago, errorText } from "./format.js";
import { asUser } from "./hub.js";
import { sessionHref } from "./route.js";

interface Props {
  provider: string;
  directory: string;
  chosen: AgentSession | undefined;
  choose: (session: AgentSession | undefined, workspace: string) => void;
}

/** The sessions that the chosen agent has from elsewhere, to go on with one of them. */
export function TakeUp({ provider, directory, chosen, choose }: Props) {
  const [list, setList] = useState<AgentSessions>();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");

  const read = async (more?: AgentSessions) => {
    setBusy(true);
    setProblem("");
    try {
      const query = {
        provider: provider || undefined,
        workingDirectory: directory.trim() || undefined,
        workspace: more?.workspace,
        cursor: more?.nextCursor,
      };
      const page = await asUser((hub) => hub.agentSessions(query));
      setList(more ? { ...page, sessions: [...more.sessions, ...page.sessions] } : page);
    } catch (error) {
      setProblem(errorText(error));
    }
    setBusy(false);
  };

  return (
    <fieldset class="field take-up">
      <legend>Take up a session</legend>
      <small class="muted">Go on with one that the agent has from elsewhere, such as a terminal.</small>
      {list?.sessions.map((session) => (
        <label key={session.agentSession} class="take-up-choice">
          <input
            type="radio"
            name="take-up"
            checked={chosen?.agentSession === session.agentSession}
            disabled={session.sessionId !== undefined}
            onChange={() => choose(session, list.workspace)}
            data-testid="take-up-choice"
          />
          <span>
            {session.title || session.agentSession}
            <small class="muted">
              {` ${session.workingDirectory}${session.updatedAt ? `, ${ago(session.updatedAt)}` : ""}`}
            </small>
            {session.sessionId !== undefined && <a href={sessionHref(session.sessionId)}> open it</a>}
          </span>
        </label>
      ))}
      {list && list.sessions.length === 0 && !list.nextCursor && <p class="muted">The agent has none here.</p>}
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <div class="actions">
        {(!list || list.nextCursor) && (
          <button type="button" class="button" disabled={busy} onClick={() => void read(list)} data-testid="take-up">
            {busy ? "Asking the agent…" : list ? "More" : "Show them"}
          </button>
        )}
        {chosen && (
          <button type="button" class="button" onClick={() => choose(undefined, "")}>
            None of them
          </button>
        )}
      </div>
    </fieldset>
  );
}
