import { parseJsonObject } from "../lib/json.ts";
import type { OciError } from "../oci/errors.ts";

/**
 * What a client hears when a body is too large for the Pod. A proxy in front of the registry says so in HTML, of which clients show a fragment at best;
 * what the registry itself says in OCI form passes as it is, which null means. `bytes` is the body's announced length; null: it was not announced.
 */
export function tooLarge(answerText: string, bytes: number | null): OciError | null {
  if (Array.isArray(parseJsonObject(answerText)?.["errors"])) return null;
  const what = bytes === null || bytes === 0 ? "this body" : `a body of ${bytes} bytes`;
  const limit = limitIn(answerText);
  return {
    code: "SIZE_INVALID",
    status: 413,
    message: `${what} is more than the registry, or a proxy in front of it, accepts${limit === null ? "" : ` (${limit})`}; its operator can raise that limit`,
  };
}

/** A size with its unit in what a proxy says, as in "Maximum upload size is 100MB". Its tags and its own name are left out. */
function limitIn(text: string): string | null {
  const words = text.replace(/<[^>]*>/g, " ");
  const [size = null] = /\b\d+(?:\.\d+)? ?(?:[KMGT]i?B|bytes)\b/i.exec(words) ?? [];
  return size === null ? null : `its limit is ${size}`;
}
