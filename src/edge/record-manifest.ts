import { hex } from "../lib/bytes.ts";
import { boundedBytes } from "../lib/read-bounded.ts";
import { ok, type Result } from "../lib/result.ts";
import type { FetchRequest } from "../net/fetch.ts";
import { announcedBytes } from "../net/headers.ts";
import { type Digest, digestParts, parseDigest } from "../oci/digest.ts";
import type { RepositoryEndpoint } from "../oci/endpoint.ts";
import { manifestBlobs, namesBlobs } from "../oci/manifest-blobs.ts";
import { isDigest, type Reference } from "../oci/reference.ts";
import type { AdmittedPod } from "../pods/gate.ts";
import type { Refusal } from "../refusal.ts";
import type { Context } from "./authorize.ts";

type ManifestEndpoint = Extract<RepositoryEndpoint, { readonly kind: "manifest" }>;

/**
 * Registries take manifests of up to 4 MiB, but an image of 256 layers needs no more than this. Up to this many bytes wait in the isolate's memory for
 * each client that reads slowly.
 */
const MAX_RECORDED_BYTES = 256 * 1024;

/** Forwards a manifest, pulled or pushed, as it is. A copy of it proves the blobs that it names, once the Pod has accepted or given it. */
export async function passManifest(
  sent: FetchRequest,
  { services, request }: Context,
  { endpoint, pod }: { readonly endpoint: ManifestEndpoint; readonly pod: AdmittedPod },
): Promise<Result<Response, Refusal>> {
  const pushed = endpoint.method === "PUT" ? copyManifest(request) : null;
  const answer = await services.callRegistry(pod, pushed === null ? sent : { ...sent, body: pushed.body });
  if (!answer.ok) return answer;
  const { status, headers } = answer.value;
  const digests = digestsOf(headers, endpoint.reference);
  const [digest] = digests;
  if (digest === undefined) return answer;
  const manifest = { pod, repository: endpoint.name, digest };
  const record = async (copied: Copied) =>
    services.proofs.recordManifest(manifest, await blobsOf(copied, digests), services.now);
  if (pushed !== null && status === 201) services.waitUntil(record(pushed));
  if (endpoint.method !== "GET" || status !== 200 || services.proofs.hasManifest(manifest)) return answer;
  const pulled = copyManifest(answer.value);
  if (pulled === null) return answer;
  services.waitUntil(record(pulled));
  return ok(new Response(pulled.body, answer.value));
}

/** What the manifest must hash to: the digest that the Pod names, and the one that was asked for. */
function digestsOf(headers: Headers, reference: Reference): readonly Digest[] {
  const text = headers.get("Docker-Content-Digest");
  const named = text === null ? null : parseDigest(text);
  if (named !== null && !named.ok) return [];
  return [named?.value ?? null, isDigest(reference) ? reference : null].flatMap((digest) => digest ?? []);
}

/** A manifest on its way through the edge: the stream to pass on, untouched and with its length, and a copy. */
type Copied = {
  readonly body: ReadableStream<Uint8Array>;
  /** Null: it was cut short, or it is too large to be recorded. */
  readonly bytes: Promise<Uint8Array<ArrayBuffer> | null>;
  readonly mediaType: string | null;
};

/**
 * Null: nothing can be recorded. The copy is read at the pace of the faster reader, so at most a manifest waits for a slow one, and no more is kept of a
 * longer stream. An encoded body is not copied, because the copy would be of decoded bytes, which have another digest.
 */
function copyManifest({ body, headers }: Request | Response): Copied | null {
  const mediaType = headers.get("Content-Type");
  if (body === null || !namesBlobs(mediaType) || headers.has("Content-Encoding")) return null;
  if ((announcedBytes(body, headers) ?? 0) > MAX_RECORDED_BYTES) return null;
  const [passed, copy] = body.tee();
  return { body: passed, bytes: boundedBytes(copy, MAX_RECORDED_BYTES).catch(() => null), mediaType };
}

/** The blobs that a manifest proves. A manifest that does not hash to each of `digests` proves none. */
async function blobsOf({ bytes, mediaType }: Copied, digests: readonly Digest[]): Promise<readonly Digest[]> {
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
