import { decodeJwt, decodeProtectedHeader, importJWK, type JWK, type JWTPayload, jwtVerify } from "jose";
import { JOSEError, JWSSignatureVerificationFailed } from "jose/errors";
import * as v from "valibot";
import type { Pod } from "../directory/directory.ts";
import type { PublicKey } from "../directory/records.ts";
import { BoundedMap } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type Access, formatScope } from "../oci/scope.ts";
import { plainText } from "../telemetry/log-line.ts";

/**
 * What the edge can say about a Pod's token. `kid` is null if the token names no key. `subject` is the token's `sub` for the log, or null if the
 * token is anonymous.
 */
type Verdict =
  | { readonly kind: "verified"; readonly access: readonly Access[]; readonly subject: string | null }
  | { readonly kind: "invalid" }
  | { readonly kind: "unknown-key"; readonly kid: string | null };

/**
 * The part of a Pod's record on which a verdict depends. If we remembered the whole record with a token, an old record would stay in memory after a
 * change, perhaps with thousands of CIDRs.
 */
type Verifier = Pick<Pod, "keys" | "issuer" | "audience">;

type Verified = {
  readonly by: Verifier;
  readonly expiresAtMs: number;
  readonly verdict: Verdict;
  /** About how much memory the entry takes, including the whole token as its key. */
  readonly bytes: number;
};
type ImportedKey = Awaited<ReturnType<typeof importJWK>>;

export type TokenMemory = {
  /** Verified tokens. The key is the Pod id and the whole token, so that no other text passes for a verified token. */
  readonly verified: BoundedMap<string, Verified>;
  /** Null for a key that cannot be imported. */
  readonly keys: WeakMap<PublicKey, ImportedKey | null>;
};

/** The tokens and the edge's own grants that did not verify in this request, and how many of them were forged. */
export type RejectedTokens = { readonly keys: Set<string>; forged: number };
export const noneRejected = (): RejectedTokens => ({ keys: new Set(), forged: 0 });

/**
 * After this many forged tokens, a request's other tokens with known keys count as wrong, unless this isolate has verified them before. Otherwise a
 * stranger could send a bundle of eight forged tokens, and each signature by a large elliptic curve can take two milliseconds to check. One hostile
 * Pod cannot make a user's good tokens count as wrong, because it can add only one forged token to the user's bundle.
 */
const mostForged = 2;

/** Whether a token counts as wrong, so that it is not checked. */
export const isRejected = ({ keys, forged }: RejectedTokens, key: string): boolean =>
  keys.has(key) || forged >= mostForged;

export function reject(rejected: RejectedTokens, key: string, why: "forged" | null): void {
  rejected.keys.add(key);
  if (why === "forged") rejected.forged += 1;
}

export type VerifyPorts = { readonly tokens: TokenMemory; readonly rejected: RejectedTokens; readonly now: Date };

/** How much memory all remembered tokens may take, and how much a single token may take. A mirror's token for 200 repositories fits. */
const maxBytesOfAll = 12 * 1024 * 1024;
const maxBytesOfOne = 128 * 1024;
const bytesPerEntry = 250;
/** A token's subject is a user name. GitLab's user names have at most 255 characters. */
const maxSubjectCharacters = 255;

export const createVerifiedTokens = (): TokenMemory["verified"] =>
  new BoundedMap(2_000, { maxBytes: maxBytesOfAll, bytesOf: ({ bytes }) => bytes });

/** Registries (distribution, GitLab) allow a clock to be a minute off. */
const leewaySeconds = 60;

/**
 * Reads distribution's `access` as registries in Go do. A field that is missing or null counts as empty, and a field of a wrong type makes the token
 * invalid.
 */
const text = v.nullish(v.string(), "");
const list = <T>(item: v.GenericSchema<unknown, T>) => v.nullish(v.array(item), []);
const accessClaim = list(v.object({ type: text, name: text, actions: list(v.string()) }));
/** A token request has at most 200 scopes, but a hostile token service can grant any number. Reading this many takes a millisecond or two. */
const MAX_ACCESS_ENTRIES = 2_000;

function readAccess(claim: unknown): readonly Access[] | null {
  if (Array.isArray(claim) && claim.length > MAX_ACCESS_ENTRIES) return null;
  const access = v.safeParse(accessClaim, claim);
  return access.success ? access.output : null;
}

/** GitLab's registry refuses a token with more audiences. */
const MAX_AUDIENCES = 10;

export async function verifyToken(jwt: string, pod: Pod, { tokens, rejected, now }: VerifyPorts): Promise<Verdict> {
  const cacheKey = `${pod.id}/${jwt}`;
  const known = tokens.verified.get(cacheKey);
  if (known !== undefined && isSame(known.by, pod) && known.expiresAtMs > now.getTime()) {
    return known.verdict;
  }
  const named = keyId(jwt);
  if (!named.ok) return { kind: "invalid" };
  const publicKey = pod.keys.find(({ kid }) => kid === named.value);
  if (publicKey === undefined) return { kind: "unknown-key", kid: named.value };
  if (isRejected(rejected, cacheKey)) return { kind: "invalid" };
  const key = await importKey(publicKey, tokens);
  if (key === null) return { kind: "invalid" };
  const payload = hasEnded(jwt, now) ? null : await verifyWith(jwt, { key, algorithm: publicKey.alg, pod, now });
  if (payload === null || payload === "forged") {
    reject(rejected, cacheKey, payload);
    return { kind: "invalid" };
  }
  const access = differentEntries(payload.access);
  const verdict: Verdict = { kind: "verified", access, subject: payload.subject };
  const bytes =
    cacheKey.length +
    (payload.subject?.length ?? 0) +
    access.reduce((sum, entry) => sum + bytesPerEntry + formatScope(entry).length, 0);
  const expiresAtMs = (payload.exp + leewaySeconds) * 1000;
  if (bytes <= maxBytesOfOne) {
    const { keys, issuer, audience } = pod;
    tokens.verified.set(cacheKey, { by: { keys, issuer, audience }, expiresAtMs, verdict, bytes });
  }
  return verdict;
}

/** Compares the lists of keys by identity. Each parse of a record makes a new list, so after a change of the record, tokens are verified again. */
const isSame = (one: Verifier, other: Verifier): boolean =>
  one.keys === other.keys && one.issuer === other.issuer && one.audience === other.audience;

/**
 * Drops repeated entries, to save memory. A token of 8 KB can have thousands of short entries, and each takes more bytes in memory than in the token.
 */
const differentEntries = (access: readonly Access[]): readonly Access[] => [
  ...new Map(access.map((entry) => [JSON.stringify(entry), entry])).values(),
];

/** Returns a token's claims, without a check of its signature. Null if the token cannot be read. */
export function claimsOf(jwt: string): JWTPayload | null {
  try {
    return decodeJwt(jwt);
  } catch {
    return null;
  }
}

/** Returns the access that a token claims, without a check of its signature. Null if its claims cannot be read. */
export function claimedAccess(jwt: string): readonly Access[] | null {
  const claims = claimsOf(jwt);
  return claims === null ? null : readAccess(claims["access"]);
}

/**
 * Returns the token's `sub`, without a check of its signature. Null if it has none, or if the token cannot be read. A client without a login, or with
 * a GitLab deploy token, gets a token without a `sub`.
 */
export const subjectOf = (jwt: string): string | null => readSubject(claimsOf(jwt)?.sub);

const readSubject = (claim: unknown): string | null =>
  typeof claim === "string" && claim !== "" ? plainText(claim, maxSubjectCharacters) : null;

/**
 * Returns the `kid` of a token's header, or null if it has none. The header's `jwk`, `x5c` and `jku` are never read, because the sender of a forged
 * token could put a key of its own there.
 */
export function keyId(jwt: string): Result<string | null, "malformed"> {
  try {
    const kid: unknown = decodeProtectedHeader(jwt).kid;
    return kid === undefined || typeof kid === "string" ? ok(kid ?? null) : err("malformed");
  } catch {
    return err("malformed");
  }
}

/** Whether a token has ended by its own `exp`. We look at this first, because a check of the signature takes more time. */
function hasEnded(jwt: string, now: Date): boolean {
  const claims: { readonly exp?: unknown } | null = claimsOf(jwt);
  if (claims === null) return true;
  return typeof claims.exp === "number" && now.getTime() / 1000 > claims.exp + leewaySeconds;
}

type Check = { readonly key: ImportedKey; readonly algorithm: string; readonly pod: Pod; readonly now: Date };

async function verifyWith(
  jwt: string,
  { key, algorithm, pod, now }: Check,
): Promise<{ exp: number; subject: string | null; access: readonly Access[] } | "forged" | null> {
  try {
    const { payload } = await jwtVerify(jwt, key, {
      algorithms: [algorithm],
      issuer: pod.issuer,
      audience: pod.audience,
      clockTolerance: leewaySeconds,
      requiredClaims: ["exp"],
      currentDate: now,
    });
    const access = readAccess(payload["access"]);
    if (access === null || payload.exp === undefined) return null;
    if (Array.isArray(payload.aud) && payload.aud.length > MAX_AUDIENCES) return null;
    return { exp: payload.exp, subject: readSubject(payload.sub), access };
  } catch (error) {
    if (error instanceof JWSSignatureVerificationFailed) return "forged";
    if (error instanceof JOSEError || error instanceof TypeError) return null;
    throw error;
  }
}

/**
 * A key that cannot be imported gives null, not an error. A token may have parts of several Pods, and one Pod's bad key must not fail the requests
 * for the others.
 */
async function importKey(jwk: PublicKey, { keys }: TokenMemory): Promise<ImportedKey | null> {
  const known = keys.get(jwk);
  if (known !== undefined) return known;
  // Only these members of the key are imported. So no other member, such as `key_ops`, can make the import fail.
  const { kty, alg, crv, n, e, x, y } = jwk as JWK;
  const key = await importJWK({ kty, crv, n, e, x, y } as JWK, alg).catch(() => null);
  keys.set(jwk, key);
  return key;
}
