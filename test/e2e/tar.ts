import { randomBytes } from "node:crypto";
import { tarEnd, tarHeader } from "../../src/local/images.ts";

const chunkBytes = 1024 * 1024;

/** Streams a tar archive (the form of an image's layer) with one file of random bytes. */
export function* tarOfRandomBytes(name: string, bytes: number): Generator<Buffer> {
  yield tarHeader(name, bytes);
  for (let left = bytes; left > 0; left -= chunkBytes) yield randomBytes(Math.min(left, chunkBytes));
  yield tarEnd(bytes);
}
