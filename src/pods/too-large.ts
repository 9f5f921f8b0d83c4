import { parseJsonObject } from "../lib/json.ts";
import { textWithin } from "../net/within.ts";
import { errorResponse, type OciError } from "../oci/errors.ts";

const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Turns the body of a Pod's 413 (`text`) into an OCI error, because clients show at best the first words of a proxy's HTML. Null if that body is in
 * OCI form already. `bytes` is the announced length of the client's body, or null.
 */
export function tooLarge(text: string, bytes: number | null): OciError | null {
  if (Array.isArray(parseJsonObject(text)?.["errors"])) return null;
  const what = bytes === null || bytes === 0 ? "the request's body" : `a body of ${bytes} bytes`;
  const size = sizeIn(text);
  const limit = size === null ? "" : `, whose limit is ${size}`;
  return {
    code: "SIZE_INVALID",
    message: `${what} is too large for the registry or for a proxy in front of it${limit}; its operator can raise the limit`,
  };
}

/** Returns the size that a proxy's page names as its limit, as in "Maximum upload size is 100 MB". Null unless the page names exactly one size. */
function sizeIn(text: string): string | null {
  const words = text.slice(0, MAX_ANSWER_BYTES).replace(/<[^<>]*>/g, " ");
  const sizes = new Set(words.match(/\b\d{1,15}(?:\.\d{1,3})? ?(?:[KMGT]i?B|bytes)\b/gi) ?? []);
  const [size] = sizes;
  return size !== undefined && sizes.size === 1 ? size : null;
}

export async function withTooLargeExplained(answer: Response, bytes: number | null): Promise<Response> {
  if (answer.status !== 413) return answer;
  // A clone is read, so that the Pod's own bytes can be sent on: text that is encoded again may not have the announced length.
  const error = tooLarge((await textWithin(answer.clone(), MAX_ANSWER_BYTES)) ?? "", bytes);
  if (error === null) return answer;
  await answer.body?.cancel().catch(() => {});
  return errorResponse(error);
}
