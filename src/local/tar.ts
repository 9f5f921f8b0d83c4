/** POSIX ustar archives of one file: its header, the file padded to whole blocks, two empty blocks. Pure. */
const blockBytes = 512;

export const tarOf = (name: string, file: Buffer): Buffer =>
  Buffer.concat([tarHeader(name, file.length), file, tarEnd(file.length)]);

/** Fields at fixed places, numbers in octal, a sum over the header with its own field as blanks. */
export function tarHeader(name: string, bytes: number): Buffer {
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
  header.write(`${octal(sum, 6)} `, 148);
  return header;
}

export const tarEnd = (bytes: number): Buffer =>
  Buffer.alloc(((blockBytes - (bytes % blockBytes)) % blockBytes) + 2 * blockBytes);
