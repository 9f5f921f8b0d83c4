/**
 * Refuses a blob that is longer than its manifest says. The operator makes room at the target only for the bytes that `--plan` counts from manifests.
 */
import { Readable } from "node:stream";
import type { NamedBlob } from "./manifest-parts.ts";

/**
 * Returns what is wrong with the `Content-Length` of a blob at the source, or null. If the manifest gives no size (docker's first schema), `bytes` is
 * 0. The answer must then have a `Content-Length`, so that the target can refuse a blob that is too large.
 */
export function wrongLength(announced: string | undefined, { bytes }: NamedBlob): string | null {
  if (announced === undefined) return bytes === 0 ? "neither its manifest nor the answer says how long it is" : null;
  return bytes === 0 || Number(announced) === bytes
    ? null
    : `the answer has ${announced} bytes, and the manifest says ${bytes}`;
}

type Limited = { readonly body: Readable; readonly isOver: () => boolean };

/** Passes on a body of unknown length. The passed body ends with an error if `source` has more than `bytes` bytes. */
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
