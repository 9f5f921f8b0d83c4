import { countParameter, parameter } from "../oci/query.ts";

/**
 * The parameter of a push location that says how many bytes the Pod has of the upload. It only decides how long the edge waits for the Pod, so it is not
 * sealed.
 */
export const sizeParameter = "_pod_bytes";

/**
 * Returns how many bytes a Pod has of an upload, from a range such as `0-1023` (OCI distribution-spec, "Pushing a blob in chunks"). Null if the Pod does not
 * say.
 */
export function bytesOfRange(range: string | null): number | null {
  const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(range ?? "")?.[1];
  return last === undefined ? null : Number(last) + 1;
}

/** Returns how many bytes the Pod has of the upload. Null if the location does not say. */
export function uploadedBytes(query: string): number | null {
  const text = countParameter(query, sizeParameter) === 1 ? (parameter(query, sizeParameter) ?? "") : "";
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}
