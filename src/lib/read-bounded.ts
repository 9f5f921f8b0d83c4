/** The whole body, or null if it is longer than `maxBytes`. Once that is known, or `signal` is aborted, the rest is not read. */
export async function boundedBytes(
  body: ReadableStream<Uint8Array>,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer> | null> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const reader = body.getReader();
  const stop = () => void reader.cancel().catch(() => {});
  signal?.addEventListener("abort", stop);
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    bytes += read.value.byteLength;
    if (bytes > maxBytes) {
      stop();
      return null;
    }
    chunks.push(read.value);
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
export async function boundedText(
  body: Request | Response,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<string | null> {
  if (body.body === null) return "";
  const bytes = await boundedBytes(body.body, maxBytes, signal);
  return bytes === null ? null : new TextDecoder().decode(bytes);
}
