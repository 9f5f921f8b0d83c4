import { type PodId, parsePodId } from "../directory/pod-id.ts";
import { err, ok, type Result } from "../lib/result.ts";

/** One Pod's token inside a bundle. The edge never sends it to another Pod. */
export type TokenPart = { readonly pod: PodId; readonly jwt: string };

/** A token as clients send it. A bundle names the Pod of each part; a bare JWT names its Pod only by its `kid`. */
export type Token =
  | { readonly kind: "bundle"; readonly parts: readonly TokenPart[] }
  | { readonly kind: "bare"; readonly jwt: string };

const bundlePrefix = "pods.v1.";
export const MAX_PARTS = 8;
/** This is enough for 200 scopes with long names. Workers take 128 KB of headers. */
const MAX_JWT_CHARACTERS = 32 * 1024;

/** Whether the text has the form of three base64url parts (RFC 7515 §3.1). */
export const isCompactJwt = (text: string): boolean =>
  text.length <= MAX_JWT_CHARACTERS && /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(text);

/** Formats `pods.v1.<podId>/<jwt>[~<podId>/<jwt>…]`, which has only characters that a Bearer token may have (RFC 6750 §2.1). */
export const formatBundle = (parts: readonly TokenPart[]): string =>
  bundlePrefix + parts.map(({ pod, jwt }) => `${pod}/${jwt}`).join("~");

export function parseToken(text: string): Result<Token, "malformed"> {
  if (!text.startsWith(bundlePrefix)) return isCompactJwt(text) ? ok({ kind: "bare", jwt: text }) : err("malformed");
  const texts = text.slice(bundlePrefix.length).split("~", MAX_PARTS + 1);
  const parts = texts.flatMap((part) => parsePart(part) ?? []);
  const whole = parts.length === texts.length && parts.length <= MAX_PARTS;
  const distinct = new Set(parts.map(({ pod }) => pod)).size === parts.length;
  return whole && distinct ? ok({ kind: "bundle", parts }) : err("malformed");
}

function parsePart(text: string): TokenPart | null {
  const slash = text.indexOf("/");
  const pod = parsePodId(text.slice(0, Math.max(slash, 0)));
  const jwt = text.slice(slash + 1);
  return slash > 0 && pod.ok && isCompactJwt(jwt) ? { pod: pod.value, jwt } : null;
}
