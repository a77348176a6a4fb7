import { useState } from "preact/hooks";
import type { ApprovalContent, ApprovalOption, ToolApprovalData } from "@sessionhub/client";
import type { Asker } from "./asker.js";
import { errorText, sizeText } from "./format.js";

/** A question of which the event has only a part, and what became of reading the whole. */
export interface Whole {
  /** The event has only a part, and the whole is not on the page yet. */
  missing: boolean;
  content: ApprovalContent | undefined;
  reading: boolean;
  problem: string;
  read(): void;
  /** The hub does not know that it was read: it has to be opened again. */
  forget(): void;
}

/** The whole of what a question would allow, once somebody asked for it. The hub takes no "allow" before that. */
export function useWholeContent(model: Asker, request: ToolApprovalData): Whole {
  const [content, setContent] = useState<ApprovalContent>();
  const [reading, setReading] = useState(false);
  const [problem, setProblem] = useState("");
  const read = async () => {
    setReading(true);
    setProblem("");
    try {
      setContent(await model.approvalContent(request.interactionId));
    } catch (error) {
      setProblem(errorText(error));
    }
    setReading(false);
  };
  return {
    missing: request.truncated === true && !content,
    content,
    reading,
    problem,
    read: () => void read(),
    forget: () => setContent(undefined),
  };
}

/** Until the whole was opened, only what refuses is offered. */
export function isWithheld({ kind }: ApprovalOption, { missing }: Whole): boolean {
  return missing && !kind.startsWith("reject");
}

/** The way to the whole. Its line stays there once it was read: the answers below do not move. */
export function WholeContent({
  whole,
  request,
  disabled,
}: {
  whole: Whole;
  request: ToolApprovalData;
  disabled: boolean;
}) {
  if (!request.truncated) return null;
  const size = request.fullBytes === undefined ? "" : ` (${sizeText(request.fullBytes)})`;
  return (
    <p class="whole-content" data-testid="whole-content" data-missing={whole.missing}>
      <span class={whole.problem ? "problem" : "muted"} role="status">
        {whole.problem ||
          (whole.missing
            ? "Only a part is shown. It can be allowed once you opened the whole."
            : `This is the whole${size}.`)}
      </span>
      <button
        type="button"
        class="button"
        disabled={disabled || whole.reading || !whole.missing}
        onClick={whole.read}
        data-testid="open-whole"
      >
        {whole.reading ? "Opening…" : `Open the whole${size}`}
      </button>
    </p>
  );
}
