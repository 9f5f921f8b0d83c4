import { randomBytes } from "node:crypto";
import { tarEnd, tarHeader } from "../../src/local/images.ts";

const chunkBytes = 1024 * 1024;

export function* tarOfRandomBytes(name: string, bytes: number): Generator<Buffer> {
  yield tarHeader(name, bytes);
  for (let left = bytes; left > 0; left -= chunkBytes) yield randomBytes(Math.min(left, chunkBytes));
  yield tarEnd(bytes);
}
