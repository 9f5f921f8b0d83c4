/** Finds out whether the Worker can verify tokens with a public key. Pure. */
import { createPublicKey } from "node:crypto";
import type { PublicKey } from "../directory/records.ts";
import { type Path, quote } from "./mistake.ts";

/** For each kind of key, the algorithms of a record (`alg`) that fit it (RFC 7518 §3.1, RFC 8037). */
export const keyAlgorithms: ReadonlyMap<string, readonly string[]> = new Map([
  ["RSA", ["RS256", "RS384", "RS512", "PS256"]],
  ["P-256", ["ES256"]],
  ["P-384", ["ES384"]],
  ["P-521", ["ES512"]],
  ["Ed25519", ["EdDSA"]],
]);

const membersOf = { RSA: ["n", "e"], EC: ["crv", "x", "y"], OKP: ["crv", "x"] } as const;

/** jose refuses shorter keys, and workerd refuses longer keys. */
const [minRsaBits, maxRsaBits] = [2048, 16_384];
/** workerd imports RSA keys only with these two exponents. Node imports any. */
const exponents: readonly (bigint | undefined)[] = [3n, 65_537n];

/** What is wrong with a public key, at this place in the key. `text` begins with a verb, or with the wrong value in quotes before the verb. */
export type KeyMistake = { readonly path: Path; readonly text: string };

const importAgain = "import the key again by `podctl keys import`";

/** Null if the Worker can import the key. */
export function keyMistake(key: PublicKey): KeyMistake | null {
  const { kty, alg, crv } = key;
  const missing = membersOf[kty].find((member) => key[member] === undefined);
  if (missing !== undefined) return { path: [missing], text: `is missing; ${importAgain}` };
  const malformed = membersOf[kty].find((member) => !isBase64url(key[member]));
  if (malformed !== undefined)
    return { path: [malformed], text: `${quote(key[malformed], [])} is not base64url; ${importAgain}` };
  const able = keyAlgorithms.get(kty === "RSA" ? kty : String(crv)) ?? [];
  if (able.length === 0)
    return { path: ["crv"], text: `${quote(crv, [])} is wrong; want a key for RSA, P-256, P-384, P-521 or Ed25519` };
  if (!able.includes(alg))
    return { path: ["alg"], text: `${quote(alg, [])} does not fit this key; want ${able.join(" or ")}` };
  const text = wrongNumbers(key);
  return text === null ? null : { path: [], text };
}

const isBase64url = (value: unknown): boolean => typeof value === "string" && /^[\w-]+$/.test(value);

function wrongNumbers(key: PublicKey): string | null {
  const bits = key.kty === "RSA" ? bitsOf(String(key["n"])) : minRsaBits;
  if (bits < minRsaBits) return `has ${bits} bits; want at least ${minRsaBits}`;
  // We refuse a longer key before Node reads it. After Node has read such a key, its next import of any key fails (Node 24: "too small buffer").
  if (bits > maxRsaBits) return `has ${bits} bits; want at most ${maxRsaBits}`;
  const details = detailsOf(key);
  if (details === null) return `is not a public key; ${importAgain}`;
  const { publicExponent } = details;
  if (key.kty !== "RSA" || exponents.includes(publicExponent)) return null;
  return `has the exponent ${quote(String(publicExponent), [])}, which the Worker cannot use; want a key whose exponent is 65537`;
}

const bitsOf = (base64url: string): number =>
  BigInt(`0x0${Buffer.from(base64url, "base64url").toString("hex")}`).toString(2).length;

function detailsOf(jwk: PublicKey) {
  try {
    return createPublicKey({ key: jwk, format: "jwk" }).asymmetricKeyDetails ?? {};
  } catch {
    return null;
  }
}
