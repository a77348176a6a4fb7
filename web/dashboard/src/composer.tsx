import { useEffect, useRef, useState } from "preact/hooks";
import type { Delivery } from "@sessionhub/client";
import { drafts, type Draft } from "./attachments.js";
import { Drafts } from "./attachments-view.js";
import { FileNameList, useFileNames } from "./file-names.js";
import { errorText, isBusy } from "./format.js";
import type { SessionModel } from "./session-model.js";

/** The box for the next message, and the way to stop what runs. */
export function Composer({ model }: { model: SessionModel }) {
  const [text, setText] = useState("");
  const [stopping, setStopping] = useState(false);
  const [problem, setProblem] = useState("");
  const [files, setFiles] = useState<readonly Draft[]>([]);
  const box = useRef<HTMLTextAreaElement>(null);
  const chooser = useRef<HTMLInputElement>(null);
  /** How far back in what was sent the box is, and what was in it before. */
  const past = useRef({ back: 0, draft: "" });
  const names = useFileNames(model.files);
  const place = (text: string, caret: number) => {
    setText(text);
    requestAnimationFrame(() => {
      box.current?.setSelectionRange(caret, caret);
      if (text[caret - 1] === "/") names.look(text, caret); // what is in the directory
    });
  };
  const status = model.transcript.value.status.value;
  const closed = model.over.value;
  const draft = model.draft.value;
  useEffect(() => {
    if (draft === undefined) return;
    model.draft.value = undefined;
    past.current.back = 0;
    setText(draft);
    box.current?.focus();
  }, [draft, model]);
  const busy = isBusy(status);
  // A message that comes while only the background works runs at once.
  const waits = busy && !model.transcript.value.inBackground.value;

  const working = waits && (status === "running" || status === "requires_action");
  const steers = model.transcript.value.steers.value;
  const empty = text.trim() === "" && files.length === 0;
  const add = (more: Iterable<File>) => {
    if (!closed) setFiles((all) => [...all, ...drafts(more)]);
  };
  const send = (delivery?: Delivery) => {
    if (empty || closed) return;
    const chosen = files.map(({ file }) => file);
    model.send(chosen.length > 0 ? (text.trim() === "" ? [] : [{ type: "text", text }]) : text, delivery, chosen);
    setText("");
    setFiles([]);
    names.close();
    past.current = { back: 0, draft: "" };
    box.current?.focus();
  };
  /** Goes through what was sent, as a shell does. False: there is nothing that way. */
  const recall = (by: 1 | -1): boolean => {
    const sent = model.sentTexts();
    const { back, draft } = past.current;
    const next = back + by;
    if (next < 0 || next > sent.length) return false;
    past.current = { back: next, draft: back === 0 ? text : draft };
    setText(next === 0 ? past.current.draft : sent.at(-next)!);
    return true;
  };
  const stop = async () => {
    setStopping(true);
    setProblem("");
    try {
      await model.stop();
    } catch (error) {
      setProblem(errorText(error));
    }
    setStopping(false);
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
      onDragOver={(event) => {
        if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
      }}
      onDrop={(event) => {
        if (!event.dataTransfer?.files.length) return;
        event.preventDefault();
        add(event.dataTransfer.files);
      }}
    >
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <Drafts all={files} remove={(gone) => setFiles((all) => all.filter((each) => each !== gone))} />
      <FileNameList files={names} choose={place} />
      <div class="composer-box">
        <label class="unseen" for="message-box">
          Message
        </label>
        <textarea
          id="message-box"
          ref={box}
          rows={1}
          value={text}
          disabled={closed}
          placeholder={closed ? "This session takes no more messages" : waits ? "Queue a message…" : "Write a message…"}
          onInput={(event) => {
            past.current.back = 0;
            setText(event.currentTarget.value);
            names.look(event.currentTarget.value, event.currentTarget.selectionEnd);
          }}
          onPaste={(event) => {
            if (!event.clipboardData?.files.length) return;
            event.preventDefault();
            add(event.clipboardData.files);
          }}
          onKeyDown={(event) => {
            // While an input method composes a character, the keys belong to it.
            if (event.isComposing || event.shiftKey || event.altKey) return;
            if (names.onKey(event.key, place)) return event.preventDefault();
            const { selectionStart: at, selectionEnd: to, value } = event.currentTarget;
            const up = event.key === "ArrowUp" && at === to && !value.slice(0, at).includes("\n");
            const down = event.key === "ArrowDown" && at === to && !value.slice(at).includes("\n");
            if (event.key === "Enter") send();
            else if (!(up && recall(1)) && !(down && recall(-1))) return;
            event.preventDefault();
          }}
          onBlur={names.close}
          aria-describedby="composer-hint"
          aria-controls={names.names.length > 0 ? "file-names" : undefined}
          aria-activedescendant={names.names.length > 0 ? `file-name-${names.chosen}` : undefined}
          data-testid="message-box"
        />
        <div class="composer-actions">
          <input
            type="file"
            multiple
            hidden
            ref={chooser}
            onChange={(event) => {
              add(event.currentTarget.files ?? []);
              event.currentTarget.value = "";
            }}
            data-testid="attach-file"
          />
          <button
            type="button"
            class="button"
            disabled={closed}
            title="Attach files or a photo; paste and drop work too"
            onClick={() => chooser.current?.click()}
            data-testid="attach"
          >
            Attach
          </button>
          {busy && !closed && (
            <button type="button" class="button" onClick={() => void stop()} disabled={stopping} data-testid="stop">
              <span class="stop-mark" aria-hidden="true" /> Stop
            </button>
          )}
          {working && !closed && (
            <button
              type="button"
              class="button"
              disabled={empty}
              title={
                steers
                  ? "The agent takes it in while it works"
                  : "This agent takes nothing in while it works: the message waits in front of the others"
              }
              onClick={() => send("steer")}
              data-testid="steer"
            >
              {steers ? "Steer" : "Send next"}
            </button>
          )}
          <button type="submit" class="button primary" disabled={closed || empty} data-testid="send">
            Send
          </button>
        </div>
      </div>
      <small class="muted composer-hint" id="composer-hint">
        Enter sends, Shift+Enter makes a new line, ↑ brings back what you sent
      </small>
    </form>
  );
}
