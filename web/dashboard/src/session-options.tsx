import type { ConfigOption, OptionValue } from "@sessionhub/client";
import { useEffect, useState } from "preact/hooks";
import { errorText } from "./format.js";
import { Dialog } from "./menu.js";
import { offerName } from "./options.js";
import type { SessionModel } from "./session-model.js";
import { line } from "./text.js";

/** Says that the agent acts without asking. It is there as long as it does. */
export function UnaskedBadge({ mode, testId }: { mode: string; testId: string }) {
  return (
    <span class="badge unasked" title={`In the mode ${line(mode)} the agent acts without asking`} data-testid={testId}>
      <span aria-hidden="true">⚠ </span>does not ask
      <span class="unseen"> before it acts, in the mode {line(mode)}</span>
    </span>
  );
}

/** The options of the session's agent. A change shows when the log has it. */
export function OptionsDialog({ model, onClose }: { model: SessionModel; onClose: () => void }) {
  const told = model.transcript.value.options.value;
  const [problem, setProblem] = useState("");
  // A refused change leaves the page's own choice in the list: it is drawn anew.
  const [refused, setRefused] = useState(0);
  const set = async (id: string, value: OptionValue) => {
    setProblem("");
    try {
      await model.setOption(id, value);
    } catch (error) {
      setProblem(errorText(error));
      setRefused((count) => count + 1);
    }
  };
  const options = told?.configOptions ?? [];
  return (
    <Dialog labelledBy="options-title" onClose={onClose}>
      <form method="dialog" data-testid="options">
        <h2 id="options-title">The agent’s options</h2>
        {options.length === 0 && <p class="muted">The agent tells its options when it has started.</p>}
        {options.map((option) => (
          <Option
            key={`${option.id} ${refused}`}
            option={option}
            disabled={model.readOnly || model.over.value}
            onSet={(value) => void set(option.id, value)}
          />
        ))}
        {told?.truncated && <p class="muted">The agent has more than is listed here.</p>}
        <div class="dialog-foot">
          {problem && (
            <p class="problem" role="alert">
              {problem}
            </p>
          )}
          <div class="actions">
            <button type="submit" class="button">
              Close
            </button>
          </div>
        </div>
      </form>
    </Dialog>
  );
}

function Option({
  option,
  disabled,
  onSet,
}: {
  option: ConfigOption;
  disabled: boolean;
  onSet: (value: OptionValue) => void;
}) {
  const { id, currentValue, options = [] } = option;
  // A key in a closed list changes it at once: what makes the agent act unasked takes a second act.
  const [unasked, setUnasked] = useState<{ value: string; sent: boolean }>();
  const wanted = options.find(({ value }) => value === unasked?.value);
  const choose = (value: string) => {
    if (options.find((each) => each.value === value)?.asks === false) return setUnasked({ value, sent: false });
    setUnasked(undefined);
    if (value !== currentValue) onSet(value);
  };
  useEffect(() => setUnasked(undefined), [currentValue]);
  const hint = option.description && (
    <small class="muted" id={`option-${id}`}>
      {line(option.description)}
    </small>
  );
  const described = option.description ? `option-${id}` : undefined;
  if (typeof currentValue === "boolean") {
    return (
      <label class="field check">
        <span>
          <input
            type="checkbox"
            checked={currentValue}
            disabled={disabled}
            onChange={(event) => onSet(event.currentTarget.checked)}
            aria-describedby={described}
            data-option={id}
          />{" "}
          {line(option.name)}
        </span>
        {hint}
      </label>
    );
  }
  const known = options.some(({ value }) => value === currentValue);
  const groups = [...new Set(options.map(({ group }) => group ?? ""))];
  const field = (
    <label class="field">
      <span>{line(option.name)}</span>
      <select
        value={unasked?.value ?? currentValue}
        disabled={disabled}
        onChange={(event) => choose(event.currentTarget.value)}
        aria-describedby={described}
        data-option={id}
      >
        {!known && <option value={currentValue}>{line(currentValue)}</option>}
        {groups.map((group) => {
          const offers = options
            .filter((each) => (each.group ?? "") === group)
            .map((each) => (
              <option key={each.value} value={each.value} disabled={each.allowed === false}>
                {offerName(each)}
              </option>
            ));
          return group === "" ? (
            offers
          ) : (
            <optgroup key={group} label={line(group)}>
              {offers}
            </optgroup>
          );
        })}
      </select>
      {hint}
    </label>
  );
  const current = options.find(({ value }) => value === currentValue);
  return (
    <div class="option">
      {field}
      {wanted && wanted.value !== currentValue ? (
        <div class="option-unasked" role="alert" data-testid="unasked-question">
          <p>⚠ In {line(wanted.name)} the agent acts without asking anybody.</p>
          <div class="actions">
            <button
              type="button"
              class="button danger"
              disabled={disabled || unasked?.sent}
              onClick={() => {
                setUnasked({ value: wanted.value, sent: true });
                onSet(wanted.value);
              }}
              data-testid="unasked-confirm"
            >
              Let it act without asking
            </button>
            <button type="button" class="button" onClick={() => setUnasked(undefined)} data-testid="unasked-leave">
              Leave it as it was
            </button>
          </div>
        </div>
      ) : (
        current?.asks === false && <p class="option-unasked">⚠ The agent acts without asking anybody.</p>
      )}
    </div>
  );
}
