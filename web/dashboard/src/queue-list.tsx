import { useState } from "preact/hooks";
import { errorText } from "./format.js";
import { moved, withText, type Waiting } from "./queue.js";
import type { SessionModel } from "./session-model.js";
import { prose } from "./text.js";
import { plainText } from "./transcript.js";

/** The messages that wait, and what can be done to each. */
export function QueueList({ model }: { model: SessionModel }) {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const list = model.transcript.value.queue.value;
  if (list.length === 0 || model.over.value) return null;
  const held = list.filter((each) => each.held);

  const act = async (change: Parameters<SessionModel["changeQueue"]>[0]): Promise<boolean> => {
    setBusy(true);
    setProblem("");
    try {
      await model.changeQueue(change);
      return true;
    } catch (error) {
      setProblem(errorText(error));
      return false;
    } finally {
      setBusy(false);
    }
  };

  return (
    <section class="queue" aria-label="Waiting messages" data-testid="queue">
      {held.length > 0 && (
        <div class="hold-banner" role="status" data-testid="hold-banner">
          <span>{held.length === 1 ? "1 message is held." : `${held.length} messages are held.`}</span>
          {!model.readOnly && (
            <span class="actions">
              <button
                type="button"
                class="button"
                disabled={busy}
                onClick={() => void act({ action: "release" })}
                data-testid="queue-release"
              >
                Send
              </button>
              <button
                type="button"
                class="button"
                disabled={busy}
                onClick={() => void act({ action: "discard" })}
                data-testid="queue-discard"
              >
                Discard
              </button>
            </span>
          )}
        </div>
      )}
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <ol>
        {list.map((entry) => (
          <Entry key={entry.messageId} entry={entry} list={list} busy={busy} act={act} readOnly={model.readOnly} />
        ))}
      </ol>
    </section>
  );
}

function Entry(props: {
  entry: Waiting;
  list: readonly Waiting[];
  busy: boolean;
  readOnly: boolean;
  act: (change: Parameters<SessionModel["changeQueue"]>[0]) => Promise<boolean>;
}) {
  const { entry, list, busy, readOnly, act } = props;
  const [draft, setDraft] = useState<string>();
  const { messageId, content } = entry;
  const text = plainText(content);
  const peers = list.filter((each) => each.held === entry.held && !each.steering);
  const at = peers.indexOf(entry);
  const name = text.trim().slice(0, 40) || "message";
  const save = async () => {
    if (draft === undefined || draft.trim() === "") return;
    if (await act({ action: "edit", messageId, content: withText(content, draft) })) setDraft(undefined);
  };

  return (
    <li
      data-testid="queued"
      data-message-id={messageId}
      data-held={entry.held}
      aria-label={entry.held ? "Held" : entry.steering ? "On its way to the agent" : "Queued"}
    >
      {draft === undefined || entry.steering ? (
        <span class="queued-text">{prose(text) || <span class="muted">(no text)</span>}</span>
      ) : (
        <form
          class="queued-edit"
          onSubmit={(event) => {
            event.preventDefault();
            void save();
          }}
        >
          <textarea
            aria-label="Text of the waiting message"
            value={draft}
            rows={2}
            onInput={(event) => setDraft(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Escape") setDraft(undefined);
            }}
            data-testid="queued-text"
          />
          <span class="actions">
            <button type="submit" class="button" disabled={busy || draft.trim() === ""} data-testid="queued-save">
              Save
            </button>
            <button type="button" class="quiet" onClick={() => setDraft(undefined)}>
              Leave as it is
            </button>
          </span>
        </form>
      )}
      {entry.steering && <span class="muted">On its way to the agent</span>}
      {!readOnly && !entry.steering && draft === undefined && (
        <span class="actions">
          <Act label={`Edit: ${name}`} busy={busy} onClick={() => setDraft(text)} testId="queued-edit">
            Edit
          </Act>
          <Act
            label={`Remove: ${name}`}
            busy={busy}
            onClick={() => void act({ action: "remove", messageId })}
            testId="queued-remove"
          >
            Remove
          </Act>
          <Act
            label={`Send now: ${name}`}
            busy={busy}
            onClick={() => void act({ action: "send_now", messageId })}
            testId="queued-send-now"
          >
            Send now
          </Act>
          <Act
            label={`Move up: ${name}`}
            busy={busy || at <= 0}
            onClick={() => void act({ action: "order", messageIds: moved(list, messageId, -1) })}
            testId="queued-up"
          >
            ↑
          </Act>
          <Act
            label={`Move down: ${name}`}
            busy={busy || at < 0 || at === peers.length - 1}
            onClick={() => void act({ action: "order", messageIds: moved(list, messageId, 1) })}
            testId="queued-down"
          >
            ↓
          </Act>
        </span>
      )}
    </li>
  );
}

function Act(props: { label: string; busy: boolean; testId: string; onClick: () => void; children: string }) {
  return (
    <button
      type="button"
      class="quiet"
      aria-label={props.label}
      title={props.label}
      disabled={props.busy}
      onClick={props.onClick}
      data-testid={props.testId}
    >
      {props.children}
    </button>
  );
}
