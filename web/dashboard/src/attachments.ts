import type { AttachmentBlock, MessageContent } from "@sessionhub/client";
import { imageBlock } from "@sessionhub/client/image";

/** A file that is to go with the next message. */
export interface Draft {
  key: number;
  file: File;
}

/** The types that every browser draws as a picture, and that can do nothing else there. */
const drawn = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);

/** A longer picture is not read for a preview. Bytes. */
const maxPreview = 8 << 20;

export function isPicture(mediaType: string | undefined, size: number | undefined): boolean {
  return drawn.has(mediaType ?? "") && (size ?? 0) <= maxPreview;
}

let count = 0;

/** What a person has chosen, pasted or dropped, as files for a message. */
export function drafts(files: Iterable<File>): Draft[] {
  return Array.from(files, (file) => ({ key: ++count, file }));
}

/** What agents get as a picture; a longer one would only be a file to them. Bytes. */
const maxPicture = 3_500_000;

/** A phone's photo, scaled down so far that an agent can see it; any other file as it is. */
export async function fitted(file: File): Promise<File> {
  if (!file.type.startsWith("image/") || file.size <= maxPicture) return file;
  try {
    const { data, mimeType } = await imageBlock(file, { maxSide: 2048, maxBytes: maxPicture });
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    return new File([bytes], `${file.name.replace(/\.\w+$/, "")}.jpg`, { type: mimeType });
  } catch {
    return file; // no picture that this browser can read
  }
}

/** The attachments that a message refers to. */
export function attachmentsOf(content: MessageContent): AttachmentBlock[] {
  return typeof content === "string" ? [] : content.filter((block) => block.type === "attachment");
}
