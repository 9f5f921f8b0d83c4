/**
 * Chunks must have at least this length on average. Otherwise a sender could make each byte cost as much CPU time as a small request. No honest body
 * is refused, because networks make longer chunks.
 */
const minBytesPerChunk = 512;
/**
 * A body may have one chunk for each `minBytesPerChunk` bytes, and this many more. A client's form comes in one piece, but a Pod may write a list
 * name by name.
 */
const spareChunks = { request: 32, answer: 1_000 };

type Reading = { readonly signal?: AbortSignal | undefined; readonly from?: keyof typeof spareChunks };

/**
 * Returns the whole body, or the part that was read before `signal` was aborted. Null if the body is longer than `maxBytes` or comes in very small
 * pieces; its other bytes are then not read.
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

/** Drops the first `bytes` bytes of a body, whose rest can then be read. Null if the body ends or breaks off before that. */
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
