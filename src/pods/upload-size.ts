import { readParameters, valuesOf } from "../oci/query.ts";

/**
 * The parameter of a push location that says how many bytes of the upload the Pod has. It is not sealed, because it only decides how long the edge
 * waits for the Pod.
 */
export const sizeParameter = "_pod_bytes";

/**
 * Returns how many bytes of an upload the Pod has, from a range such as `0-1023` (OCI distribution-spec, "Pushing a blob in chunks"). Null if the Pod
 * does not say.
 */
export function bytesOfRange(range: string | null): number | null {
  const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(range ?? "")?.[1];
  return last === undefined ? null : Number(last) + 1;
}

/** Null if the query of the push location does not say how many bytes the Pod has. */
export function uploadedBytes(query: string): number | null {
  const [text = "", ...others] = valuesOf(readParameters(query), sizeParameter);
  return others.length === 0 && /^\d{1,15}$/.test(text) ? Number(text) : null;
}
