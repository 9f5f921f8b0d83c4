import { json, type ToyReply } from "./http.ts";

/** Distribution's error codes, each with its status and message. */
const errors = {
  BLOB_UNKNOWN: [404, "blob unknown to registry"],
  BLOB_UPLOAD_INVALID: [404, "blob upload invalid"],
  BLOB_UPLOAD_UNKNOWN: [404, "blob upload unknown to registry"],
  DIGEST_INVALID: [400, "provided digest did not match uploaded content"],
  // The OCI table says 404, but distribution answers 400 to a PUT.
  MANIFEST_BLOB_UNKNOWN: [400, "blob unknown to registry"],
  MANIFEST_INVALID: [400, "manifest invalid"],
  MANIFEST_UNKNOWN: [404, "manifest unknown"],
  NAME_INVALID: [400, "invalid repository name"],
  NAME_UNKNOWN: [404, "repository name not known to registry"],
  PAGINATION_NUMBER_INVALID: [400, "invalid number of results requested"],
  RANGE_INVALID: [416, "invalid content range"],
  SIZE_INVALID: [400, "provided length did not match content length"],
  TAG_INVALID: [400, "manifest tag did not match URI"],
  UNAUTHORIZED: [401, "authentication required"],
  UNSUPPORTED: [405, "The operation is unsupported."],
} as const satisfies Readonly<Record<string, readonly [number, string]>>;

type ToyErrorCode = keyof typeof errors;

export const failure = (
  code: ToyErrorCode,
  detail?: unknown,
  headers: Readonly<Record<string, string>> = {},
): ToyReply => failures(code, [detail], headers);

/** Returns an answer with one error for each detail, as distribution answers a manifest with several unknown blobs. */
export function failures(
  code: ToyErrorCode,
  details: readonly unknown[],
  headers: Readonly<Record<string, string>> = {},
): ToyReply {
  const [status, message] = errors[code];
  return json(status, { errors: details.map((detail) => ({ code, message, detail })) }, headers);
}
