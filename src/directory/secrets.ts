import type { JWK } from "jose";
import type { BoundedMap } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Misconfigured } from "../refusal.ts";
import { type SealedFor, unseal } from "./seal.ts";

export type OpenSecret = (sealed: string, sealedFor: SealedFor) => Promise<Result<string, Misconfigured>>;

/** Remembers opened secrets, because an ECDH and a decryption cost more than a signature made with the secret. */
export type OpenedSecrets = BoundedMap<string, string>;

export function createOpenSecret(privateJwks: readonly JWK[], opened: OpenedSecrets): OpenSecret {
  return async (sealed, sealedFor) => {
    const { pod, field, scheme, target } = sealedFor;
    const cacheKey = JSON.stringify([pod, field, scheme, target, sealed]);
    const known = opened.get(cacheKey);
    if (known !== undefined) return ok(known);
    const secret = await unseal(sealed, sealedFor, privateJwks);
    if (!secret.ok) return err({ reason: "misconfigured", text: secret.error });
    opened.set(cacheKey, secret.value);
    return secret;
  };
}
