import * as v from "valibot";
import { type EdgePart, formatBundle, isCompactJwt, type PodPart } from "../auth/bundle.ts";
import { claimedAccess, claimsOf } from "../auth/verify.ts";
import { jsonResponse, parseJson } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";

/** A part of the token that a client gets. A grant of the edge has `endsAt`, because its sealed text does not show its end. */
export type IssuedPart = PodPart | (EdgePart & { readonly endsAt: Date });

/** Clients in Go treat a token that is null or empty as missing, and so do we. */
const optionalToken = v.nullish(v.string(), "");
const answer = v.object({ token: optionalToken, access_token: optionalToken });

/** Returns the token in the parsed answer of a token service. The text is empty if the answer has no token. */
export function tokenOf(json: unknown): string {
  const parsed = v.safeParse(answer, json);
  return parsed.success ? parsed.output.token || parsed.output.access_token : "";
}

/**
 * Returns the token in a Pod's answer: one compact JWT, so that a Pod cannot add another Pod's part to the bundle. The token must end in the future,
 * because a bundle lives only as long as the part that ends first.
 */
export function parseTokenAnswer(text: string, now: Date): Result<string, string> {
  const json = parseJson(text);
  if (json === undefined) return err("token service's answer is not JSON");
  const token = tokenOf(json);
  if (!isCompactJwt(token)) return err("token service's answer has no compact JWT");
  return jwtSeconds(token, now) > 0
    ? ok(token)
    : err("token service's answer has a token whose exp is not in the future");
}

/**
 * Formats the answer that clients get. Without `expires_in`, which GitLab does not send, clients assume 60 s and ask too often. There is never a
 * `refresh_token`, because only one Pod could redeem it.
 */
export function tokenResponse(parts: readonly IssuedPart[], now: Date, mostSeconds: number | null): Response {
  const token = formatBundle(parts);
  const remaining = parts.map((part) => remainingSeconds(part, now));
  const expiresIn = Math.min(...remaining, mostSeconds ?? Number.POSITIVE_INFINITY);
  return jsonResponse({ token, access_token: token, expires_in: expiresIn, issued_at: now.toISOString() });
}

/** Whether a token allows nothing, like the token of a login. False if the claims cannot be read, because they may allow something. */
export const grantsNothing = (jwt: string): boolean =>
  claimedAccess(jwt)?.every(({ actions }) => actions.length === 0) ?? false;

export const remainingSeconds = (part: IssuedPart, now: Date): number =>
  part.kind === "pod" ? jwtSeconds(part.jwt, now) : Math.floor((part.endsAt.getTime() - now.getTime()) / 1000);

function jwtSeconds(jwt: string, now: Date): number {
  const exp: unknown = claimsOf(jwt)?.exp;
  // If `exp` is missing, too large or not a number, clients cannot read it as a time, so the token counts as expired.
  return typeof exp === "number" && Math.abs(exp) < Number.MAX_SAFE_INTEGER
    ? Math.max(0, Math.floor(exp - now.getTime() / 1000))
    : 0;
}
