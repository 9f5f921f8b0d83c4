/**
 * Chunks must be at least this long on average. Otherwise a sender could send each byte as its own chunk, and each chunk costs us as much as a small
 * request. This limit cuts no honest body, because networks cut bodies into longer chunks.
 */
const minBytesPerChunk = 512;
/** A body may have this many chunks more than its length allows. A client sends its form in one piece, but a Pod may write its list name by name. */
const spareChunks = { request: 32, answer: 1_000 };

type Reading = { readonly signal?: AbortSignal | undefined; readonly from?: keyof typeof spareChunks };

/**
 * Returns the whole body, or null if the body is longer than `maxBytes` or comes in very small pieces. Stops reading once this is known, or once
 * `signal` is aborted.
 */
export async function boundedBytes(
  body: ReadableStream<Uint8Array>,
  maxBytes: number,
  { signal, from = "answer" }: Reading = {},
): Promise<Uint8Array<ArrayBuffer> | null> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const reader = body.getReader();
  const stop = () => void reader.cancel().catch(() => {});
  signal?.addEventListener("abort", stop);
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    bytes += read.value.byteLength;
    chunks.push(read.value);
    if (bytes > maxBytes || chunks.length > spareChunks[from] + bytes / minBytesPerChunk) {
      stop();
      return null;
    }
  }
  const whole = new Uint8Array(bytes);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

/** Like {@link boundedBytes}, but returns the body as UTF-8 text. */
export async function boundedText(
  body: Request | Response,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<string | null> {
  if (body.body === null) return "";
  const bytes = await boundedBytes(body.body, maxBytes, {
    signal,
    from: body instanceof Request ? "request" : "answer",
  });
  return bytes === null ? null : new TextDecoder().decode(bytes);
}

const skippedBytesAtOnce = 64 * 1024;

/** Returns a body without its first bytes, which are read and dropped. Null if the body has fewer bytes, or breaks off before. */
export async function withoutFirst(
  body: ReadableStream<Uint8Array>,
  bytes: number,
): Promise<ReadableStream<Uint8Array> | null> {
  const reader = body.getReader({ mode: "byob" });
  try {
    for (let leftBytes = bytes; leftBytes > 0; ) {
      const read = await reader.read(new Uint8Array(Math.min(leftBytes, skippedBytesAtOnce)));
      if (read.done) return null;
      leftBytes -= read.value.byteLength;
    }
    return body;
  } catch {
    return null;
  } finally {
    reader.releaseLock();
  }
}
