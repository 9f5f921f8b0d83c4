/** The whole body, or null if it is longer than `maxBytes`; the rest of it is not read then. */
export async function boundedBytes(
  body: ReadableStream<Uint8Array>,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer> | null> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) return null;
    chunks.push(chunk);
  }
  const whole = new Uint8Array(bytes);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

/** The whole body as UTF-8 text, or null if it is longer than `maxBytes`. */
export async function boundedText(body: Request | Response, maxBytes: number): Promise<string | null> {
  if (body.body === null) return "";
  const bytes = await boundedBytes(body.body, maxBytes);
  return bytes === null ? null : new TextDecoder().decode(bytes);
}
