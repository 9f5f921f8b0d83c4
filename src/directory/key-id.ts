import { importJWK, type JWK } from "jose";

/** Whether this `kid` has one of the two forms that are looked up in KV: libtrust's (12 groups of base32), or an RFC 7638 SHA-256 thumbprint. */
export const isKeyId = (kid: string): boolean => /^([A-Z2-7]{4}:){11}[A-Z2-7]{4}$|^[A-Za-z0-9_-]{43}$/.test(kid);

/**
 * Returns libtrust's KeyID, as GitLab and distribution 2 write it into tokens: 30 bytes of the SHA-256 of the SubjectPublicKeyInfo, in base32 with a
 * colon after every four characters. `jwk` is a public key with its `alg`.
 */
export async function libtrustKeyId(jwk: JWK): Promise<string> {
  const key = await importJWK(jwk, jwk.alg, { extractable: true });
  if (!(key instanceof CryptoKey)) throw new Error("want a public key");
  const der = await crypto.subtle.exportKey("spki", key);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", der as ArrayBuffer));
  return base32(digest.subarray(0, 30)).match(/.{4}/g)?.join(":") ?? "";
}

/** Formats bytes in base32 (RFC 4648 §6). The number of bytes must be a multiple of five, because we write no padding. */
function base32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, "0")).join("");
  const digits = bits.match(/.{5}/g) ?? [];
  return digits.map((digit) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[Number.parseInt(digit, 2)]).join("");
}
