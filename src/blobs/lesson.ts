import { hex } from "../lib/bytes.ts";
import { boundedBytes } from "../lib/read-bounded.ts";
import { type Digest, digestParts } from "../oci/digest.ts";
import { manifestBlobs, namesBlobs } from "../oci/manifest-blobs.ts";
import { announcedBytes } from "../telemetry/record.ts";

/**
 * Registries take up to 4 MiB, but an image of 256 layers needs no more than this; and as much may wait in the isolate's memory for each
 * client that reads slowly.
 */
const MAX_LESSON_BYTES = 256 * 1024;

/** A manifest on its way through the edge: the stream to pass on, untouched and with its length, and what passed. */
export type Copied = {
  readonly body: ReadableStream<Uint8Array>;
  /** Null: it was cut short, or is too large to learn from. */
  readonly bytes: Promise<Uint8Array<ArrayBuffer> | null>;
  readonly mediaType: string | null;
};

/**
 * Null: nothing can be learned. The copy is read at the pace of the faster one, so what waits for a slow receiver is at most a manifest;
 * of a longer stream no more is kept. A copy of an encoded body would be of decoded bytes, which no digest is of.
 */
export function copyManifest({ body, headers }: Request | Response): Copied | null {
  const mediaType = headers.get("Content-Type");
  if (body === null || !namesBlobs(mediaType) || headers.has("Content-Encoding")) return null;
  if ((announcedBytes(body, headers) ?? 0) > MAX_LESSON_BYTES) return null;
  const [passed, copy] = body.tee();
  return { body: passed, bytes: boundedBytes(copy, MAX_LESSON_BYTES).catch(() => null), mediaType };
}

/** The blobs that a manifest proves: none of one that is not what each of `digests` is of. */
export async function blobsOf({ bytes, mediaType }: Copied, digests: readonly Digest[]): Promise<readonly Digest[]> {
  const whole = await bytes;
  if (whole === null) return [];
  for (const digest of digests) if (!(await isDigestOf(digest, whole))) return [];
  return manifestBlobs(mediaType, whole);
}

const hashes: Readonly<Record<string, string>> = { sha256: "SHA-256", sha512: "SHA-512" };

async function isDigestOf(digest: Digest, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const { algorithm, encoded } = digestParts(digest);
  const hash = hashes[algorithm];
  return hash !== undefined && hex(await crypto.subtle.digest(hash, bytes)) === encoded;
}
