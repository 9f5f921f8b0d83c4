import { decodeJwt } from "jose";
import * as v from "valibot";
import { formatBundle, isCompactJwt, type TokenPart } from "../auth/bundle.ts";
import { claimedAccess } from "../auth/verify.ts";
import { jsonResponse, parseJson } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";

const answer = v.object({ token: v.optional(v.string()), access_token: v.optional(v.string()) });

/** The token in a Pod's answer: only one compact JWT enters a bundle, so that no Pod can add a part of another. */
export function parseTokenAnswer(text: string): Result<string, string> {
  const json = parseJson(text);
  if (json === undefined) return err("token service's answer is not JSON");
  const parsed = v.safeParse(answer, json);
  const token = parsed.success ? (parsed.output.token ?? parsed.output.access_token) : undefined;
  return token !== undefined && isCompactJwt(token) ? ok(token) : err("token service's answer has no compact JWT");
}

/**
 * What clients get: both names of the token, and times that are true, whatever the Pod left out (a missing `expires_in` means 60 s
 * to them). Never a `refresh_token`, which one Pod alone could redeem.
 */
export function tokenResponse(parts: readonly TokenPart[], now: Date, mostSeconds: number | null): Response {
  const token = formatBundle(parts);
  const remaining = parts.map(({ jwt }) => remainingSeconds(jwt, now));
  const expiresIn = Math.min(...remaining, mostSeconds ?? Number.POSITIVE_INFINITY);
  return jsonResponse({ token, access_token: token, expires_in: expiresIn, issued_at: now.toISOString() }, {});
}

/** A token that allows nothing, as a login's; one whose claims cannot be read may allow something. */
export const grantsNothing = (jwt: string): boolean =>
  claimedAccess(jwt)?.every(({ actions }) => actions.length === 0) ?? false;

function remainingSeconds(jwt: string, now: Date): number {
  try {
    const { exp }: { readonly exp?: unknown } = decodeJwt(jwt);
    // Whatever else a Pod wrote there is no time that a client could read.
    return typeof exp === "number" && Math.abs(exp) < Number.MAX_SAFE_INTEGER
      ? Math.max(0, Math.floor(exp - now.getTime() / 1000))
      : 0;
  } catch {
    return 0;
  }
}
