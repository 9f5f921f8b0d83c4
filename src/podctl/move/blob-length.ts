/** Keeps a source from sending more bytes than its manifest says, because the target's disk has room only for what the plan counted. */
import { Readable } from "node:stream";
import type { NamedBlob } from "./manifest-parts.ts";

/**
 * Returns what is wrong with the length that a source announces, or null. A manifest of docker's first schema gives no size, so `bytes` is 0. Then
 * the source must announce the length, so that the target can refuse a blob that is too large for it.
 */
export function wrongLength(announced: string | undefined, { bytes }: NamedBlob): string | null {
  if (announced === undefined) return bytes === 0 ? "neither its manifest nor the answer says how long it is" : null;
  return bytes === 0 || Number(announced) === bytes
    ? null
    : `the answer has ${announced} bytes, and the manifest says ${bytes}`;
}

type Limited = { readonly body: Readable; readonly isOver: () => boolean };

/** Passes a body of unknown length on, and breaks it off when it has more than `bytes`. */
export function limitTo(bytes: number, source: Readable): Limited {
  let passedBytes = 0;
  async function* pieces() {
    for await (const piece of source as AsyncIterable<Buffer>) {
      passedBytes += piece.byteLength;
      if (passedBytes > bytes) throw new Error(`it has more than ${bytes} bytes`);
      yield piece;
    }
  }
  return { body: Readable.from(pieces(), { objectMode: false }), isOver: () => passedBytes > bytes };
}
