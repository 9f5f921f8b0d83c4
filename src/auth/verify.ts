import { decodeJwt, decodeProtectedHeader, errors, importJWK, type JWK, jwtVerify } from "jose";
import * as v from "valibot";
import type { Pod } from "../directory/directory.ts";
import type { PublicKey } from "../directory/records.ts";
import { BoundedMap } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Access } from "../oci/scope.ts";

/** What the edge can say of a Pod's token: `kid` null is a token that names no key. */
export type Verdict =
  | { readonly kind: "verified"; readonly access: readonly Access[] }
  | { readonly kind: "invalid" }
  | { readonly kind: "unknown-key"; readonly kid: string | null };

type Remembered = { readonly tokenChecks: string; readonly expiresAtMs: number; readonly access: readonly Access[] };

/** By the whole token, so that nothing shorter can stand for it; a Pod record that changed its keys drops them. */
const remembered = new BoundedMap<string, Remembered>(2_000);
/** Longer ones, for very many repositories, are verified each time: all that are remembered stay under 20 MB. */
const MAX_REMEMBERED_CHARACTERS = 8192;
/** Registries allow it to either side (distribution, GitLab). */
const leewaySeconds = 60;

/** Distribution's `access`, as registries read it, which are written in Go: what is missing or null is empty, what is of another type spoils the token. */
const text = v.nullish(v.string(), "");
const list = <T>(item: v.GenericSchema<unknown, T>) => v.nullish(v.array(item), []);
const accessClaim = list(v.object({ type: text, name: text, actions: list(v.string()) }));
/** GitLab's registry takes no longer list. */
const MAX_AUDIENCES = 10;

export async function verifyToken(jwt: string, pod: Pod, now: Date): Promise<Verdict> {
  const cacheKey = `${pod.id}/${jwt}`;
  const known = remembered.get(cacheKey);
  if (known !== undefined && known.tokenChecks === pod.tokenChecks && known.expiresAtMs > now.getTime()) {
    return { kind: "verified", access: known.access };
  }
  const named = keyId(jwt);
  if (!named.ok) return { kind: "invalid" };
  const key = pod.keys.find(({ kid }) => kid === named.value);
  if (key === undefined) return { kind: "unknown-key", kid: named.value };
  const claims = await verifyWith(jwt, key, pod, now);
  if (claims === null) return { kind: "invalid" };
  if (jwt.length <= MAX_REMEMBERED_CHARACTERS) {
    const expiresAtMs = (claims.exp + leewaySeconds) * 1000;
    remembered.set(cacheKey, { tokenChecks: pod.tokenChecks, expiresAtMs, access: claims.access });
  }
  return { kind: "verified", access: claims.access };
}

/** What a token says that it allows, whoever signed it; null where its claims cannot be read. */
export function claimedAccess(jwt: string): readonly Access[] | null {
  try {
    const access = v.safeParse(accessClaim, decodeJwt(jwt)["access"]);
    return access.success ? access.output : null;
  } catch {
    return null;
  }
}

/** The `kid` of a token's header, null where it has none. Header `jwk`, `x5c` and `jku` name a key of the sender's choice and are never read. */
export function keyId(jwt: string): Result<string | null, "malformed"> {
  try {
    const kid: unknown = decodeProtectedHeader(jwt).kid;
    return kid === undefined || typeof kid === "string" ? ok(kid ?? null) : err("malformed");
  } catch {
    return err("malformed");
  }
}

async function verifyWith(
  jwt: string,
  key: PublicKey,
  pod: Pod,
  now: Date,
): Promise<{ exp: number; access: readonly Access[] } | null> {
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
    if (!access.success || payload.exp === undefined) return null;
    if (Array.isArray(payload.aud) && payload.aud.length > MAX_AUDIENCES) return null;
    return { exp: payload.exp, access: access.output };
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
