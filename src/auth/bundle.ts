import { type PodId, parsePodId } from "../directory/pod-id.ts";
import { err, ok, type Result } from "../lib/result.ts";

/** One Pod's token inside a bundle. The edge never sends it to another Pod. */
export type PodPart = { readonly kind: "pod"; readonly pod: PodId; readonly jwt: string };

/** A grant that the edge itself gave for one Pod (`edge-grant.ts`). It is sent to no Pod. */
export type EdgePart = { readonly kind: "edge"; readonly pod: PodId; readonly sealed: string };

export type TokenPart = PodPart | EdgePart;

/** A token as clients send it. A bundle names the Pod of each part; a bare JWT names its Pod only by its `kid`. */
export type Token =
  | { readonly kind: "bundle"; readonly parts: readonly TokenPart[] }
  | { readonly kind: "bare"; readonly jwt: string };

const bundlePrefix = "pods.v1.";
const edgePrefix = "edge.";
export const MAX_PARTS = 8;
/** Enough for a token with 200 scopes of long names. */
const MAX_JWT_CHARACTERS = 32 * 1024;

/** Whether the text has the form of three base64url parts (RFC 7515 §3.1). */
export const isCompactJwt = (text: string): boolean =>
  text.length <= MAX_JWT_CHARACTERS && /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(text);

/**
 * Whether the text has the form of a JWE without an encrypted key (RFC 7516 §3.1). A Pod's JWT never has this form, because it has three parts and
 * none of them is empty.
 */
const isSealed = (text: string): boolean =>
  text.length <= MAX_JWT_CHARACTERS && /^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(text);

/** Formats `pods.v1.<podId>/<jwt>[~<podId>/edge.<sealed>…]`, which has only characters that a Bearer token may have (RFC 6750 §2.1). */
export const formatBundle = (parts: readonly TokenPart[]): string =>
  bundlePrefix + parts.map((part) => `${part.pod}/${textOf(part)}`).join("~");

const textOf = (part: TokenPart): string => (part.kind === "pod" ? part.jwt : edgePrefix + part.sealed);

export function parseToken(text: string): Result<Token, "malformed"> {
  if (!text.startsWith(bundlePrefix)) return isCompactJwt(text) ? ok({ kind: "bare", jwt: text }) : err("malformed");
  const texts = text.slice(bundlePrefix.length).split("~", MAX_PARTS + 1);
  const parts = texts.map(parsePart).filter((part) => part !== null);
  const whole = parts.length === texts.length && parts.length <= MAX_PARTS;
  const distinct = new Set(parts.map(({ pod }) => pod)).size === parts.length;
  return whole && distinct ? ok({ kind: "bundle", parts }) : err("malformed");
}

function parsePart(text: string): TokenPart | null {
  const slash = text.indexOf("/");
  const pod = parsePodId(text.slice(0, Math.max(slash, 0)));
  if (!pod.ok) return null;
  const token = text.slice(slash + 1);
  if (isCompactJwt(token)) return { kind: "pod", pod: pod.value, jwt: token };
  const sealed = token.startsWith(edgePrefix) ? token.slice(edgePrefix.length) : "";
  return isSealed(sealed) ? { kind: "edge", pod: pod.value, sealed } : null;
}
