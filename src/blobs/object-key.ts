import { type Digest, digestParts } from "../oci/digest.ts";

/** Where distribution and GitLab keep a blob's bytes, below the store's `prefix`. No repository stands in it: hence proofs. */
export function objectKey(digest: Digest, prefix: string): string {
  const { algorithm, encoded } = digestParts(digest);
  const key = `docker/registry/v2/blobs/${algorithm}/${encoded.slice(0, 2)}/${encoded}/data`;
  return prefix === "" ? key : `${prefix}/${key}`;
}
