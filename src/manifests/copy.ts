import { ByteBudget } from "../lib/byte-budget.ts";
import { hex } from "../lib/bytes.ts";
import { boundedBytes } from "../lib/read-bounded.ts";
import { announcedBytes } from "../net/headers.ts";
import { leastPieceBytes, readPieces, startPace } from "../net/pieces.ts";
import { type Digest, digestParts } from "../oci/digest.ts";

/** A manifest on its way through the edge. `body` is the stream to pass on, unchanged and with its length, and `bytes` is a copy. */
export type Copied = {
  readonly body: ReadableStream<Uint8Array>;
  /** Null if the manifest was cut short or is too large, or if the copy was ended. */
  readonly bytes: Promise<Uint8Array<ArrayBuffer> | null>;
  /** Ends the copy and gives its bytes back to the budget, when nothing needs the copy any more. The receiver still gets the whole `body`. */
  readonly end: () => void;
};

export type CopyTerms = { readonly budget: ByteBudget; readonly pod: string };

/** The manifest of an image with 256 layers is no larger than this. */
export const smallBytes = 256 * 1024;
/** Registries take no larger manifest (OCI distribution spec, "Pushing Manifests"). */
const MAX_BYTES = 4 * 1024 * 1024;
/**
 * Most manifests are shorter than this, and `tee` copies them. If the receiver is slow, `tee` holds at most this many bytes besides the copy. A body
 * with a greater `Content-Length` is copied by `copyLarge`, which reads only as fast as the receiver.
 */
const teedBytes = 64 * 1024;

/** After this time, a copy is ended. Otherwise a Pod or a client that is slow on purpose could hold the budget's bytes for as long as it likes. */
const copyMs = 60_000;

/** One Pod may take half of the budget, so a hostile Pod leaves the other half to the other Pods. Two of the largest manifests fit into a half. */
export const createCopyBudget = (): ByteBudget =>
  new ByteBudget({ maxBytes: 4 * MAX_BYTES, maxBytesOfOwner: 2 * MAX_BYTES, lifeMs: copyMs });

/**
 * Copies a body while it is passed on. Null if the body is missing, encoded or too long, or if the budget that all copies share has no room for it. A
 * body of unknown length is copied only up to `teedBytes`.
 */
export function copyBody({ body, headers }: Request | Response, { budget, pod }: CopyTerms): Copied | null {
  // An encoded body is not copied, because the copy would hold decoded bytes, which have another digest.
  if (body === null || headers.has("Content-Encoding")) return null;
  const maxBytes = announcedBytes(body, headers) ?? teedBytes;
  if (maxBytes > MAX_BYTES) return null;
  const give = budget.take(maxBytes, pod, Date.now());
  if (give === null) return null;
  const ending = new AbortController();
  const end = () => {
    clearTimeout(timer);
    ending.abort();
    give();
  };
  const timer = setTimeout(end, copyMs);
  const copy = maxBytes > teedBytes ? copyLarge : copyTeed;
  const { body: passed, bytes } = copy(body, maxBytes, ending.signal);
  const copied = bytes.then((whole) => {
    if (whole === null) end();
    return ending.signal.aborted ? null : whole;
  });
  return { body: passed, bytes: copied, end };
}

type Copying = Omit<Copied, "end">;

function copyTeed(body: ReadableStream<Uint8Array>, maxBytes: number, signal: AbortSignal): Copying {
  const [passed, copy] = body.tee();
  return { body: passed, bytes: boundedBytes(copy, maxBytes, { signal }).catch(() => null) };
}

/** Reads a piece only when the receiver asks for one, so only the copy needs memory. */
function copyLarge(body: ReadableStream<Uint8Array>, maxBytes: number, signal: AbortSignal): Copying {
  const reader = readPieces(body);
  const leastBytes = startPace();
  let min = 1;
  let copy: Uint8Array<ArrayBuffer> | null = new Uint8Array(maxBytes);
  const copied = Promise.withResolvers<Uint8Array<ArrayBuffer> | null>();
  signal.addEventListener("abort", () => {
    copy = null;
    copied.resolve(null);
  });
  let length = 0;
  const passed = new ReadableStream({
    type: "bytes",
    pull: async (controller: ReadableByteStreamController) => {
      const askedBytes = controller.byobRequest?.view?.byteLength ?? 0;
      const buffer = new Uint8Array(Math.max(askedBytes, leastPieceBytes));
      const { value, done } = await reader.read(buffer, { min }).catch((error: unknown) => {
        copied.resolve(null);
        throw error;
      });
      if (value !== undefined && value.byteLength > 0) {
        if (length + value.byteLength <= maxBytes) copy?.set(value, length);
        length += value.byteLength;
        min = leastBytes(value.byteLength);
        controller.enqueue(value);
      }
      if (!done) return;
      copied.resolve(length === maxBytes ? copy : null);
      controller.close();
      controller.byobRequest?.respond(0);
    },
    cancel: async (reason) => {
      copied.resolve(null);
      await reader.cancel(reason);
    },
  });
  return { body: passed, bytes: copied.promise };
}

const hashes: ReadonlyMap<string, string> = new Map([
  ["sha256", "SHA-256"],
  ["sha512", "SHA-512"],
]);

export async function isDigestOf(digest: Digest, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const { algorithm, encoded } = digestParts(digest);
  const hash = hashes.get(algorithm);
  return hash !== undefined && hex(await crypto.subtle.digest(hash, bytes)) === encoded;
}
