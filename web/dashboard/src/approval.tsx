import { useState } from "preact/hooks";
import type { ApprovalOption } from "@sessionhub/client";
import { clockTime, errorText } from "./format.js";
import type { SessionModel } from "./session-model.js";
import { isSomething, ToolContents, Value } from "./tool-content.js";
import { watch, type ApprovalItem } from "./transcript.js";

/** A question of the agent's, with the agent's own answers; a line with the outcome once it is answered. */
export function Approval({ item, model }: { item: ApprovalItem; model: SessionModel }) {
  const { request, resolved } = watch(item);
  const [sent, setSent] = useState<string>();
  const [problem, setProblem] = useState("");

  const answer = async (option: ApprovalOption) => {
    setSent(option.optionId);
    setProblem("");
    try {
      await model.approve(request.interactionId, option.optionId);
    } catch (error) {
      setProblem(errorText(error));
      setSent(undefined);
    }
  };

  const title = request.title || "The agent asks to use a tool";
  if (resolved) {
    return (
      <p
        class="approval-line"
        data-testid="approval"
        data-interaction-id={request.interactionId}
        data-state={resolved.outcome}
        data-good={resolved.kind?.startsWith("allow") ?? false}
      >
        <span class="outcome">{outcomeText(item)}</span> <span>{title}</span>
        {resolved.by && <span class="muted"> · {resolved.by === "rule" ? "by your rule" : `by ${resolved.by}`}</span>}
      </p>
    );
  }

  // The keys go to the one that waits longest.
  const oldest = !model.readOnly && model.transcript.value.pending.value[0] === item;
  const hasContent = (request.content?.length ?? 0) > 0;
  const hasInput = isSomething(request.input);
  const hasDiff = request.content?.some((content) => content.type === "diff") ?? false;
  return (
    <section
      class="approval"
      aria-label={`Approval needed: ${title}`}
      data-testid="approval"
      data-interaction-id={request.interactionId}
      data-state="pending"
    >
      <header>
        <span class="approval-flag">Approval needed</span>
        {request.kind && <span class="kind">{request.kind}</span>}
        <span class="muted approval-expiry">until {clockTime(request.expiresAt)}</span>
      </header>
      <h2>{title}</h2>
      {hasContent && <ToolContents contents={request.content!} />}
      {hasInput &&
        (hasDiff ? (
          // The diff says it better; the input is there for who wants to be sure.
          <details class="more">
            <summary>Full input</summary>
            <Value value={request.input} />
          </details>
        ) : (
          <Value value={request.input} />
        ))}
      {!hasContent && !hasInput && <p class="muted">The agent gave no details but this title.</p>}
      <div class="actions" role="group" aria-label="Answers">
        {request.options.map((option, index) => (
          <button
            key={option.optionId}
            type="button"
            class={`button ${optionClass(option.kind)}`}
            disabled={sent !== undefined || model.readOnly}
            aria-busy={sent === option.optionId}
            onClick={() => void answer(option)}
            data-testid="approval-option"
            data-kind={option.kind}
            data-option-id={option.optionId}
            aria-keyshortcuts={oldest && index < 9 ? `${index + 1} Alt+${index + 1}` : undefined}
          >
            {option.name || option.optionId}
            {oldest && index < 9 && (
              <kbd aria-hidden="true" title={`Key ${index + 1}, or Alt+${index + 1} while you type`}>
                {index + 1}
              </kbd>
            )}
          </button>
        ))}
      </div>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
    </section>
  );
}

function optionClass(kind: string): string {
  if (kind === "allow_once") return "primary";
  return kind.startsWith("reject") ? "danger" : "";
}

function outcomeText({ request, resolved }: ApprovalItem): string {
  if (resolved?.outcome === "cancelled") return "Cancelled";
  if (resolved?.outcome === "expired") return "Expired, and so refused";
  const option = request.options.find(({ optionId }) => optionId === resolved?.optionId);
  switch (resolved?.kind ?? option?.kind) {
    case "allow_once":
      return "Allowed once";
    case "allow_always":
      return "Always allowed";
    case "reject_once":
      return "Refused";
    case "reject_always":
      return "Always refused";
    default:
      return option?.name ?? "Answered";
  }
}
