import type { ImageBlock } from "./events.js";

export interface ImageOptions {
  /** The longest side in pixels; models see no more. Default: 1568. */
  maxSide?: number | undefined;
  /** The most bytes, before base64 makes a third more of them. Default: 700,000, which fits in a hub's default of 1 MiB. */
  maxBytes?: number | undefined;
}

const types: [mimeType: string, begins: RegExp][] = [
  ["image/png", /^\x89PNG\r\n\x1a\n/],
  ["image/jpeg", /^\xff\xd8\xff/],
  ["image/gif", /^GIF8[79]a/],
  ["image/webp", /^RIFF.{4}WEBP/s],
];

/**
 * A picture as a block of a message. One that is too large, as a phone's photo
 * is, is scaled down to a JPEG; any other stays as it is, under the type that its
 * bytes have. In browsers and their workers only. Rejects what the browser cannot
 * read as a picture.
 */
export async function imageBlock(
  image: Blob,
  { maxSide = 1568, maxBytes = 700_000 }: ImageOptions = {},
): Promise<ImageBlock> {
  const bitmap = await createImageBitmap(image);
  try {
    const head = String.fromCharCode(...new Uint8Array(await image.slice(0, 16).arrayBuffer()));
    const mimeType = types.find(([, begins]) => begins.test(head))?.[0];
    let side = Math.max(bitmap.width, bitmap.height);
    if (mimeType && image.size <= maxBytes && side <= maxSide) return await block(image, mimeType);
    for (side = Math.min(side, maxSide); ; side = Math.floor(side * 0.7)) {
      const scale = side / Math.max(bitmap.width, bitmap.height);
      const canvas = new OffscreenCanvas(
        Math.max(1, Math.round(bitmap.width * scale)),
        Math.max(1, Math.round(bitmap.height * scale)),
      );
      const context = canvas.getContext("2d")!;
      context.fillStyle = "#fff"; // a JPEG has no transparency
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      for (const quality of [0.85, 0.6]) {
        const small = await canvas.convertToBlob({ type: "image/jpeg", quality });
        if (small.size <= maxBytes) return await block(small, "image/jpeg");
      }
      if (side <= 16) throw new RangeError(`no picture fits in ${maxBytes} bytes`);
    }
  } finally {
    bitmap.close();
  }
}

async function block(image: Blob, mimeType: string): Promise<ImageBlock> {
  const bytes = new Uint8Array(await image.arrayBuffer());
  let binary = "";
  // In parts: a call takes only so many arguments.
  for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return { type: "image", mimeType, data: btoa(binary) };
}
