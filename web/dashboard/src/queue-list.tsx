import { useLayoutEffect, useRef, useState } from "preact/hooks";
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
    if (busy) return false;
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

  const all = async (action: "release" | "discard") => {
    if (await act({ action })) focusOn(undefined);
  };

  return (
    <section class="queue" aria-label="Waiting messages" data-testid="queue">
      <p class="muted queue-head" hidden={list.length === held.length} data-testid="queue-head">
        {waitText(list.length - held.length)}
      </p>
      {held.length > 0 && (
        <div class="hold-banner" role="status" data-testid="hold-banner">
          <span>{held.length === 1 ? "1 message is held." : `${held.length} messages are held.`}</span>
          {!model.readOnly && (
            <span class="actions">
              <button
                type="button"
                class="button"
                disabled={busy}
                onClick={() => void all("release")}
                data-testid="queue-release"
              >
                Send
              </button>
              <button
                type="button"
                class="button danger"
                disabled={busy}
                onClick={() => void all("discard")}
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

/** The transcript where there is nothing else. */
function focusOn(element: HTMLElement | null | undefined): void {
  (element ?? document.querySelector<HTMLElement>(".transcript"))?.focus({ preventScroll: true });
}

function waitText(count: number): string {
  return count === 1 ? "1 message waits for its turn." : `${count} messages wait for their turn.`;
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
  const row = useRef<HTMLLIElement>(null);
  const box = useRef<HTMLTextAreaElement>(null);
  const editing = draft !== undefined && !entry.steering;
  const wasEditing = useRef(editing);
  // Whoever works with keys goes on nearby when what they stood on is drawn no more.
  useLayoutEffect(() => {
    if (editing) box.current?.focus();
    else if (wasEditing.current && document.activeElement === document.body) {
      row.current?.querySelector<HTMLElement>("[data-testid=queued-edit]")?.focus();
    }
    wasEditing.current = editing;
  }, [editing]);
  useLayoutEffect(
    () => () => {
      // The row is still in the page, between its neighbours.
      if (!row.current?.contains(document.activeElement)) return;
      const next = row.current.nextElementSibling ?? row.current.previousElementSibling;
      focusOn(next?.querySelector<HTMLElement>("button"));
    },
    [],
  );
  const save = async () => {
    if (draft === undefined || draft.trim() === "") return;
    if (await act({ action: "edit", messageId, content: withText(content, draft) })) setDraft(undefined);
  };

  return (
    <li
      ref={row}
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
            ref={box}
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
          <Act label={`Edit: ${name}`} off={busy} onClick={() => setDraft(text)} testId="queued-edit">
            Edit
          </Act>
          <Act
            label={`Remove: ${name}`}
            off={busy}
            onClick={() => void act({ action: "remove", messageId })}
            testId="queued-remove"
          >
            Remove
          </Act>
          <Act
            label={`Send now: ${name}`}
            off={busy}
            onClick={() => void act({ action: "send_now", messageId })}
            testId="queued-send-now"
          >
            Send now
          </Act>
          <Act
            label={`Move up: ${name}`}
            off={busy || at <= 0}
            onClick={() => void act({ action: "order", messageIds: moved(list, messageId, -1) })}
            testId="queued-up"
          >
            ↑
          </Act>
          <Act
            label={`Move down: ${name}`}
            off={busy || at < 0 || at === peers.length - 1}
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

function Act(props: { label: string; off: boolean; testId: string; onClick: () => void; children: string }) {
  return (
    <button
      type="button"
      class="quiet"
      aria-label={props.label}
      title={props.label}
      // Not disabled, which would take the focus away.
      aria-disabled={props.off}
      onClick={() => !props.off && props.onClick()}
      data-testid={props.testId}
    >
      {props.children}
    </button>
  );
}
