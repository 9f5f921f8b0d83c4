/** A tar with one file of random bytes, made as a stream: what a layer of an image is. */
import { randomBytes } from "node:crypto";

const blockBytes = 512;
const chunkBytes = 1024 * 1024;

export function* tarOfRandomBytes(name: string, bytes: number): Generator<Buffer> {
  yield fileHeader(name, bytes);
  for (let left = bytes; left > 0; left -= chunkBytes) yield randomBytes(Math.min(left, chunkBytes));
  yield Buffer.alloc((blockBytes - (bytes % blockBytes)) % blockBytes);
  // Two empty blocks end an archive (POSIX.1, ustar).
  yield Buffer.alloc(2 * blockBytes);
}

/** POSIX ustar: fields at fixed places, numbers in octal, a sum over the header with its own field as blanks. */
function fileHeader(name: string, bytes: number): Buffer {
  const header = Buffer.alloc(blockBytes);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  header.write(name, 0);
  header.write(octal(0o644, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(bytes, 11), 124);
  header.write(octal(0, 11), 136);
  header.write(" ".repeat(8), 148);
  header.write("0", 156);
  header.write("ustar\u000000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}
