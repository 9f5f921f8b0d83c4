import { decodeProtectedHeader, errors, importJWK, type JWK, jwtVerify } from "jose";
import * as v from "valibot";
import type { Pod } from "../directory/directory.ts";
import type { PublicKey } from "../directory/records.ts";
import { BoundedMap } from "../lib/bounded-map.ts";
import type { Access } from "../oci/scope.ts";

/** What the edge can say of a Pod's token. A key that the directory does not know is for the Pod to judge. */
export type Verdict =
  | { readonly kind: "verified"; readonly access: readonly Access[] }
  | { readonly kind: "invalid" }
  | { readonly kind: "unknown-key" };

type Remembered = { readonly tokenChecks: string; readonly expiresAtMs: number; readonly access: readonly Access[] };

/** By the whole token, so that nothing shorter can stand for it; a Pod record that changed its keys drops them. */
const remembered = new BoundedMap<string, Remembered>(2_000);
/** Registries allow it to either side (distribution, GitLab). */
const leewaySeconds = 60;

/** What the edge reads of a token: distribution's `access`. */
export const accessClaim = v.nullish(
  v.array(v.object({ type: v.string(), name: v.string(), actions: v.array(v.string()) })),
  [],
);

export async function verifyToken(jwt: string, pod: Pod, now: Date): Promise<Verdict> {
  const cacheKey = `${pod.id}/${jwt}`;
  const known = remembered.get(cacheKey);
  if (known !== undefined && known.tokenChecks === pod.tokenChecks && known.expiresAtMs > now.getTime()) {
    return { kind: "verified", access: known.access };
  }
  const kid = keyId(jwt);
  if (kid === null) return { kind: "invalid" };
  const key = pod.keys.find((candidate) => candidate.kid === kid);
  if (key === undefined) return { kind: "unknown-key" };
  const claims = await verifyWith(jwt, key, pod, now);
  if (claims === null) return { kind: "invalid" };
  remembered.set(cacheKey, {
    tokenChecks: pod.tokenChecks,
    expiresAtMs: (claims.exp + leewaySeconds) * 1000,
    access: claims.access,
  });
  return { kind: "verified", access: claims.access };
}

/** The `kid` of a token's header. Header `jwk`, `x5c` and `jku` name a key of the sender's choice and are never read. */
export function keyId(jwt: string): string | null {
  try {
    const { kid } = decodeProtectedHeader(jwt);
    return typeof kid === "string" ? kid : null;
  } catch {
    return null;
  }
}

async function verifyWith(
  jwt: string,
  key: PublicKey,
  pod: Pod,
  now: Date,
): Promise<{ exp: number; access: Access[] } | null> {
  try {
    const { payload } = await jwtVerify(jwt, await importKey(key), {
      algorithms: [key.alg],
      issuer: pod.issuer,
      audience: pod.audience,
      clockTolerance: leewaySeconds,
      requiredClaims: ["exp"],
      currentDate: now,
    });
    const access = v.safeParse(accessClaim, payload["access"]);
    return access.success && payload.exp !== undefined ? { exp: payload.exp, access: access.output } : null;
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof TypeError) return null;
    throw error;
  }
}

type ImportedKey = Awaited<ReturnType<typeof importJWK>>;
const imported = new WeakMap<PublicKey, ImportedKey>();

async function importKey(jwk: PublicKey): Promise<ImportedKey> {
  const known = imported.get(jwk);
  if (known !== undefined) return known;
  const key = await importJWK(jwk as JWK, jwk.alg);
  imported.set(jwk, key);
  return key;
}
