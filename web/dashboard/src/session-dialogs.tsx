import { useState } from "preact/hooks";
import { errorText } from "./format.js";
import { Dialog } from "./menu.js";
import { refreshSessions } from "./session-list.js";
import type { SessionModel } from "./session-model.js";
import { line } from "./text.js";

/** Gives the session a name. */
export function RenameDialog({
  title: present,
  rename,
  onClose,
}: {
  title: string;
  rename: (title: string) => Promise<void>;
  onClose: () => void;
}) {
  const [title, setTitle] = useState(present);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const save = async () => {
    setBusy(true);
    setProblem("");
    try {
      await rename(title.trim());
      onClose();
      refreshSessions();
    } catch (error) {
      setProblem(errorText(error));
      setBusy(false);
    }
  };
  return (
    <Dialog labelledBy="rename-title" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <h2 id="rename-title">Rename this session</h2>
        <label class="field">
          <span>Name</span>
          <input
            value={title}
            maxLength={200}
            onInput={(event) => setTitle(event.currentTarget.value)}
            aria-describedby="rename-hint"
            data-testid="rename-box"
          />
          <small class="muted" id="rename-hint">
            Without a name it is called as its agent or its first message says.
          </small>
        </label>
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        <div class="actions">
          <button type="submit" class="button primary" disabled={busy} data-testid="confirm-rename">
            Rename
          </button>
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** The commands that the agent takes. One that is chosen begins the next message. */
export function CommandsDialog({ model, onClose }: { model: SessionModel; onClose: () => void }) {
  return (
    <Dialog labelledBy="commands-title" onClose={onClose}>
      <h2 id="commands-title">Commands of {line(model.session.value?.provider ?? "") || "the agent"}</h2>
      <ul class="agent-commands" data-testid="agent-commands">
        {model.told.value.commands.value.map(({ name, description, input }) => (
          <li key={name}>
            <button
              type="button"
              class="quiet"
              onClick={() => {
                onClose();
                model.draft.value = `/${name} `;
              }}
            >
              <code>/{line(name)}</code>
            </button>
            {input && <code class="muted"> {line(input.hint)}</code>}
            <p class="muted">{line(description)}</p>
          </li>
        ))}
      </ul>
      <div class="actions">
        <button type="button" class="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}
