import type { JWK } from "jose";
import { BoundedMap } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type SealedFor, unseal } from "./seal.ts";

/** A record or a deployment that does not fit together; the text is for the log and names the place, never a value. */
export type Misconfigured = { readonly reason: "misconfigured"; readonly text: string };

/** A sealed value of a record in clear. */
export type OpenSecret = (sealed: string, sealedFor: SealedFor) => Promise<Result<string, Misconfigured>>;

/** Opened once per isolate: an ECDH and a decryption cost more than a signature made with the secret. */
const opened = new BoundedMap<string, string>(200);

export function createOpenSecret(privateJwks: readonly JWK[]): OpenSecret {
  return async (sealed, sealedFor) => {
    const cacheKey = JSON.stringify([sealedFor.pod, sealedFor.field, sealedFor.scheme, sealedFor.target, sealed]);
    const known = opened.get(cacheKey);
    if (known !== undefined) return ok(known);
    const secret = await unseal(sealed, sealedFor, privateJwks);
    if (!secret.ok) return err({ reason: "misconfigured", text: secret.error });
    opened.set(cacheKey, secret.value);
    return secret;
  };
}
