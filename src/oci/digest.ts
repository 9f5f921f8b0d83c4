import type { Brand } from "../lib/brand.ts";
import { err, ok, type Result } from "../lib/result.ts";

/** A digest of the OCI image spec, `algorithm:encoded`. Only {@link parseDigest} makes one. */
export type Digest = Brand<string, "Digest">;

// OCI image spec, "Digests". A digest with an unregistered algorithm is legal too, so the Pod decides about it.
const digestGrammar = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)$/;
const registered: ReadonlyMap<string, RegExp> = new Map([
  ["sha256", /^[a-f0-9]{64}$/],
  ["sha512", /^[a-f0-9]{128}$/],
]);
const MAX_DIGEST_CHARACTERS = 255;

/** Whether a text has the general form of a digest. It may still break the rules of its algorithm, such as 64 digits for sha256. */
export const isDigestLike = (text: string): boolean => text.length <= MAX_DIGEST_CHARACTERS && digestGrammar.test(text);

export function parseDigest(text: string): Result<Digest, string> {
  const [, algorithm = "", encoded = ""] = (text.length <= MAX_DIGEST_CHARACTERS && digestGrammar.exec(text)) || [];
  const encoding = registered.get(algorithm);
  if (algorithm !== "" && (encoding === undefined || encoding.test(encoded))) return ok(text as Digest);
  return err(
    `digest "${text.slice(0, MAX_DIGEST_CHARACTERS)}" is malformed; want sha256: and 64 lower-case hex digits`,
  );
}

export function digestParts(digest: Digest): { readonly algorithm: string; readonly encoded: string } {
  const colon = digest.indexOf(":");
  return { algorithm: digest.slice(0, colon), encoded: digest.slice(colon + 1) };
}

/**
 * Whether the path of a registry's redirect leads to the blob in a storage. Blobs may be on the registry's own host, and a proxy there may redirect
 * each request to its own path below `/v2/`, for example to set a cookie. Such a redirect proves nothing.
 */
export const isStoredAt = (path: string, digest: Digest): boolean =>
  path.includes(digestParts(digest).encoded) && !path.startsWith("/v2/");
