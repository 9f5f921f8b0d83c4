import { base64, utf8 } from "../lib/bytes.ts";
import type { PodQuestion } from "./plan.ts";
import { basicPair, type TokenRequest } from "./request.ts";

/** Who asks a Pod for a token. Credentials are hashed before anything is remembered under them, and are never logged. */
export type Credentials =
  | readonly [kind: "anonymous"]
  /** User name and password as in a Basic header: joined by a colon, in base64. */
  | readonly [kind: "password", pair: string]
  | readonly [kind: "refresh-token", token: string];

/**
 * containerd repeats a refused form's login in a header. So the same user name and password give the same credentials in a form and in a header.
 * Null if a request has a login in both, or has a field twice, because only the Pod knows which value counts.
 */
export function credentialsOf({ withCredentials }: PodQuestion, request: TokenRequest): Credentials | null {
  if (!withCredentials || request.anonymous) return ["anonymous"];
  const fields = request.passed.filter(([name]) => secretFields.includes(name));
  const form = new Map(fields);
  if (form.size !== fields.length) return null;
  if (request.authorization !== null) {
    const pair = form.size === 0 ? basicPair(request.authorization) : null;
    return pair === null ? null : ["password", btoa(pair)];
  }
  const [username, password, refreshToken] = secretFields.map((name) => form.get(name));
  if (refreshToken !== undefined) return form.size === 1 ? ["refresh-token", refreshToken] : null;
  // A user name with a colon fits no Basic header (RFC 7617 §2), so such a login gives null.
  const isPair = username !== undefined && password !== undefined && !username.includes(":");
  return isPair ? ["password", base64(utf8(`${username}:${password}`))] : null;
}

const secretFields = ["username", "password", "refresh_token"];
