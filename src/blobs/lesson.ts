import { boundedBytes } from "../lib/bounded-bytes.ts";
import { hex } from "../lib/bytes.ts";
import { type Digest, digestParts } from "../oci/digest.ts";
import { manifestBlobs } from "../oci/manifest-blobs.ts";

/** As registries limit a manifest (distribution; the OCI spec asks for at least as much). */
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

/** A manifest on its way through the edge; null: it was cut short, or is too large to learn from. */
export type Copy = Promise<Uint8Array<ArrayBuffer> | null>;

/**
 * The stream in two: one to pass on, untouched and with its length, and a copy. The copy is read at the pace of the faster one, so what
 * waits for a slow receiver is at most a manifest; of a longer stream no more is kept.
 */
export function copyManifest(
  body: ReadableStream<Uint8Array>,
  announcedBytes: number | null,
): { readonly body: ReadableStream<Uint8Array>; readonly copy: Copy } | null {
  if (announcedBytes !== null && announcedBytes > MAX_MANIFEST_BYTES) return null;
  const [passed, copied] = body.tee();
  return { body: passed, copy: boundedBytes(copied, MAX_MANIFEST_BYTES).catch(() => null) };
}

/** The blobs that a manifest proves: none of one that is not what each of its `digests` is of. */
export async function blobsOf(
  copy: Copy,
  { mediaType, digests }: { readonly mediaType: string | null; readonly digests: readonly Digest[] },
): Promise<readonly Digest[]> {
  const bytes = await copy;
  if (bytes === null || digests.length === 0) return [];
  for (const digest of digests) if (!(await isDigestOf(digest, bytes))) return [];
  return manifestBlobs(mediaType, bytes);
}

const hashes: Readonly<Record<string, string>> = { sha256: "SHA-256", sha512: "SHA-512" };

async function isDigestOf(digest: Digest, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const { algorithm, encoded } = digestParts(digest);
  const hash = hashes[algorithm];
  return hash !== undefined && hex(await crypto.subtle.digest(hash, bytes)) === encoded;
}
