/** A sender may make a chunk of each byte, and each chunk costs as much as a small request. Networks cut a body into longer pieces. */
const minBytesPerChunk = 512;
const spareChunks = 256;

/** The whole body, or null if it is longer than `maxBytes` or comes in very small pieces; the rest of it is not read then. */
export async function boundedBytes(
  body: ReadableStream<Uint8Array>,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer> | null> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    chunks.push(chunk);
    if (bytes > maxBytes || chunks.length > spareChunks + bytes / minBytesPerChunk) return null;
  }
  const whole = new Uint8Array(bytes);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

/** The whole body as UTF-8 text, or null as above. */
export async function boundedText(body: Request | Response, maxBytes: number): Promise<string | null> {
  if (body.body === null) return "";
  const bytes = await boundedBytes(body.body, maxBytes);
  return bytes === null ? null : new TextDecoder().decode(bytes);
}
