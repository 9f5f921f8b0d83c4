import {
  CompactEncrypt,
  calculateJwkThumbprint,
  compactDecrypt,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
} from "jose";
import { utf8 } from "../lib/bytes.ts";
import { err, ok, type Result } from "../lib/result.ts";

/**
 * The place that a secret is sealed for. The JWE's protected header names it, so a JWE that is copied to another Pod, field or target does not open
 * there.
 */
export type SealedFor = {
  readonly pod: string;
  readonly field: string;
  readonly scheme: string;
  readonly target: string;
};

const algorithm = { alg: "ECDH-ES", enc: "A256GCM" } as const;

export async function generateSealingKeys(): Promise<{ readonly publicJwk: JWK; readonly privateJwk: JWK }> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm.alg, { crv: "P-256", extractable: true });
  const publicJwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(publicJwk);
  return { publicJwk: { ...publicJwk, kid }, privateJwk: { ...(await exportJWK(privateKey)), kid } };
}

/** Anyone who has the public key can seal, but only the Worker can open. The header names the key, so that doctor can tell what an old key sealed. */
export async function seal(secret: string, sealedFor: SealedFor, publicJwk: JWK): Promise<string> {
  const key = await importJWK(publicJwk, algorithm.alg);
  return new CompactEncrypt(utf8(secret))
    .setProtectedHeader({ ...algorithm, kid: publicJwk.kid ?? "", ...sealedFor })
    .encrypt(key);
}

/** Tries all keys in turn, because there are two while a key is being replaced. The error names Pod and field, never a value. */
export async function unseal(
  sealed: string,
  sealedFor: SealedFor,
  privateJwks: readonly JWK[],
): Promise<Result<string, string>> {
  for (const jwk of privateJwks) {
    const opened = await open(sealed, jwk);
    if (opened === null) continue;
    const wrong = (["pod", "field", "scheme", "target"] as const).find(
      (member) => opened.header[member] !== sealedFor[member],
    );
    if (wrong === undefined) return ok(opened.secret);
    return err(`sealed value of Pod "${sealedFor.pod}", field "${sealedFor.field}", was sealed for another ${wrong}`);
  }
  return err(
    `sealed value of Pod "${sealedFor.pod}", field "${sealedFor.field}", opens with none of the Worker's keys`,
  );
}

async function open(
  sealed: string,
  jwk: JWK,
): Promise<{ header: Readonly<Record<string, unknown>>; secret: string } | null> {
  try {
    const key = await importJWK(jwk, algorithm.alg);
    const { plaintext, protectedHeader } = await compactDecrypt(sealed, key, {
      keyManagementAlgorithms: [algorithm.alg],
      contentEncryptionAlgorithms: [algorithm.enc],
    });
    return { header: { ...protectedHeader }, secret: new TextDecoder().decode(plaintext) };
  } catch {
    return null;
  }
}
