import { useRef, useState } from "preact/hooks";
import { errorText, isBusy, isOver } from "./format.js";
import type { SessionModel } from "./session-model.js";

/** The box for the next message, and the way to stop what runs. */
export function Composer({ model }: { model: SessionModel }) {
  const [text, setText] = useState("");
  const [stopping, setStopping] = useState(false);
  const [problem, setProblem] = useState("");
  const box = useRef<HTMLTextAreaElement>(null);
  const status = model.transcript.value.status.value;
  const closed = model.connection.value.phase === "closed" || isOver(status);
  const busy = isBusy(status);

  const send = () => {
    if (text.trim() === "" || closed) return;
    void model.send(text);
    setText("");
    box.current?.focus();
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
    >
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
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
          placeholder={closed ? "This session takes no more messages" : busy ? "Queue a message…" : "Write a message…"}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            // While an input method composes a character, Enter belongs to it.
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send();
          }}
          aria-describedby="composer-hint"
          data-testid="message-box"
        />
        <div class="composer-actions">
          {busy && !closed && (
            <button type="button" class="button" onClick={() => void stop()} disabled={stopping} data-testid="stop">
              <span class="stop-mark" aria-hidden="true" /> Stop
            </button>
          )}
          <button type="submit" class="button primary" disabled={closed || text.trim() === ""} data-testid="send">
            Send
          </button>
        </div>
      </div>
      <small class="muted composer-hint" id="composer-hint">
        Enter sends, Shift+Enter makes a new line
      </small>
    </form>
  );
}
