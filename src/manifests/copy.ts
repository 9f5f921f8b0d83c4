import type { ByteBudget } from "../lib/byte-budget.ts";
import { hex } from "../lib/bytes.ts";
import { boundedBytes } from "../lib/read-bounded.ts";
import { announcedBytes } from "../net/headers.ts";
import { type Digest, digestParts } from "../oci/digest.ts";

/** A manifest on its way through the edge. `body` is the stream to pass on, unchanged and with its length, and `bytes` is a copy. */
export type Copied = {
  readonly body: ReadableStream<Uint8Array>;
  /** Null if the manifest was cut short or is too large. */
  readonly bytes: Promise<Uint8Array<ArrayBuffer> | null>;
};

/** The manifest of an image with 256 layers is no larger than this. For each client that reads slowly, up to this many bytes wait in the isolate's memory. */
export const smallBytes = 256 * 1024;
/** Registries take no larger manifest (OCI distribution spec, "Pushing Manifests"). */
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Copies a body while it is passed on. Null if no copy can be made. An encoded body is not copied, because the copy would hold decoded bytes, which have
 * another digest. A body of unknown length is treated as a small one. Large bodies share a budget.
 */
export function copyBody({ body, headers }: Request | Response, largeCopies: ByteBudget): Copied | null {
  if (body === null || headers.has("Content-Encoding")) return null;
  const bytes = announcedBytes(body, headers) ?? 0;
  if (bytes > MAX_BYTES) return null;
  if (bytes > smallBytes)
    return largeCopies.take(bytes)
      ? copyLarge(body as ReadableStream<Uint8Array<ArrayBuffer>>, bytes, largeCopies)
      : null;
  // `tee` reads at the pace of its faster reader and keeps the rest in memory for the slower one. Our copy ends after `smallBytes`, so no more than
  // `smallBytes` waits in memory.
  const [passed, copy] = body.tee();
  return { body: passed, bytes: boundedBytes(copy, smallBytes).catch(() => null) };
}

/** Reads a piece only when the receiver asks for one, so only the copy needs memory. At the end the copy's bytes go back to the budget. */
function copyLarge(body: ReadableStream<Uint8Array<ArrayBuffer>>, maxBytes: number, budget: ByteBudget): Copied {
  const reader = body.getReader();
  const copy = new Uint8Array(maxBytes);
  const copied = Promise.withResolvers<Uint8Array<ArrayBuffer> | null>();
  void copied.promise.then(() => budget.give(maxBytes));
  let length = 0;
  const passed = new ReadableStream({
    type: "bytes",
    pull: async (controller: ReadableByteStreamController) => {
      const read = await reader.read().catch((error: unknown) => {
        copied.resolve(null);
        throw error;
      });
      if (read.done) {
        copied.resolve(length === maxBytes ? copy : null);
        controller.close();
        controller.byobRequest?.respond(0);
        return;
      }
      const { value } = read;
      if (length + value.byteLength <= maxBytes) copy.set(value, length);
      length += value.byteLength;
      controller.enqueue(value);
    },
    cancel: async (reason) => {
      copied.resolve(null);
      await reader.cancel(reason);
    },
  });
  return { body: passed, bytes: copied.promise };
}

const hashes: Readonly<Record<string, string>> = { sha256: "SHA-256", sha512: "SHA-512" };

export async function isDigestOf(digest: Digest, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const { algorithm, encoded } = digestParts(digest);
  const hash = hashes[algorithm];
  return hash !== undefined && hex(await crypto.subtle.digest(hash, bytes)) === encoded;
}
