import { useEffect, useState } from "preact/hooks";
import type { AttachmentBlock } from "@sessionhub/client";
import { isPicture, type Draft } from "./attachments.js";
import { saveFile } from "./export.js";
import { errorText, sizeText } from "./format.js";
import type { SessionModel } from "./session-model.js";
import { line } from "./text.js";

/** The files that a message refers to: pictures are shown, and every file can be saved. */
export function Attachments({ all, model }: { all: readonly AttachmentBlock[]; model: SessionModel }) {
  if (all.length === 0) return null;
  return (
    <ul class="attachments" aria-label="Attachments">
      {all.map((each) => (
        <Attachment key={each.attachmentId} block={each} model={model} />
      ))}
    </ul>
  );
}

function Attachment({ block, model }: { block: AttachmentBlock; model: SessionModel }) {
  const [picture, setPicture] = useState<string>();
  const [problem, setProblem] = useState("");
  const { attachmentId, mediaType, size } = block;
  const name = line(block.name ?? "") || "attachment";
  const shown = isPicture(mediaType, size);
  useEffect(() => {
    if (!shown) return;
    let url: string | undefined;
    const left = new AbortController();
    model.attachment(attachmentId, left.signal).then(
      (blob) => {
        if (left.signal.aborted) return;
        url = URL.createObjectURL(blob);
        setPicture(url);
      },
      () => undefined, // the link stays, and says why
    );
    return () => {
      left.abort();
      if (url) URL.revokeObjectURL(url);
    };
  }, [attachmentId, shown, model]);
  const save = async () => {
    setProblem("");
    try {
      saveFile(block.name ?? "attachment", await model.attachment(attachmentId));
    } catch (error) {
      setProblem(errorText(error));
    }
  };
  return (
    <li class="attachment" data-testid="attachment">
      {picture && <img src={picture} alt={name} data-testid="attachment-picture" />}
      <button
        type="button"
        class="quiet"
        onClick={() => void save()}
        title="Save the file"
        data-testid="attachment-save"
      >
        {name} <span class="muted">{sizeText(size ?? 0)}</span>
      </button>
      {problem && (
        <span class="problem" role="alert">
          {problem}
        </span>
      )}
    </li>
  );
}

/** The files of the message that is being written. */
export function Drafts({ all, remove }: { all: readonly Draft[]; remove: (draft: Draft) => void }) {
  if (all.length === 0) return null;
  return (
    <ul class="attachments" aria-label="Files of the message">
      {all.map((draft) => (
        <DraftChip key={draft.key} draft={draft} remove={remove} />
      ))}
    </ul>
  );
}

function DraftChip({ draft, remove }: { draft: Draft; remove: (draft: Draft) => void }) {
  const { file } = draft;
  const [picture, setPicture] = useState<string>();
  useEffect(() => {
    if (!isPicture(file.type, file.size)) return;
    const url = URL.createObjectURL(file);
    setPicture(url);
    return () => URL.revokeObjectURL(url);
  }, [file]);
  const name = line(file.name) || "file";
  return (
    <li class="attachment" data-testid="draft">
      {picture && <img src={picture} alt="" />}
      <span>
        {name} <span class="muted">{sizeText(file.size)}</span>
      </span>
      <button
        type="button"
        class="quiet"
        aria-label={`Remove ${name}`}
        onClick={() => remove(draft)}
        data-testid="draft-remove"
      >
        ×
      </button>
    </li>
  );
}
