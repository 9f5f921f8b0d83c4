import * as v from "valibot";
import { parseBase64, parseHex, utf8 } from "../lib/bytes.ts";
import { ed25519Seed, pkcs8 } from "./der.ts";

export type PrivateKey =
  | { readonly kind: "rsa"; readonly sha1: CryptoKey; readonly sha256: CryptoKey }
  | { readonly kind: "p256"; readonly key: CryptoKey };

type Bytes = Uint8Array<ArrayBuffer>;
type Hash = "SHA-1" | "SHA-256";

export const importHmac = (hash: Hash, bytes: Bytes): Promise<CryptoKey> =>
  crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash }, false, ["sign"]);

export const importP256 = (der: Bytes): Promise<CryptoKey> =>
  crypto.subtle.importKey("pkcs8", der, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);

const importRsa = (der: Bytes, hash: Hash): Promise<CryptoKey> =>
  crypto.subtle.importKey("pkcs8", der, { name: "RSASSA-PKCS1-v1_5", hash }, false, ["sign"]);

/**
 * Makes the schema of a key. The schema also imports the key, so that the error of a failed import names the member with the bad key. The error's
 * message is `want`, which never contains the key's text.
 */
const imported = <Key>(want: string, read: (text: string) => Promise<Key | null>) =>
  v.pipeAsync(
    v.string(),
    v.rawTransformAsync<string, Key>(async ({ dataset, addIssue, NEVER }) => {
      const key = await read(dataset.value).catch(() => null);
      if (key !== null) return key;
      addIssue({ message: want });
      return NEVER;
    }),
  );

const orNull = (bytes: Bytes | null, use: (bytes: Bytes) => Promise<CryptoKey>): Promise<CryptoKey | null> =>
  bytes === null || bytes.length === 0 ? Promise.resolve(null) : use(bytes);

/** The key's bytes are the text in UTF-8. */
export const textHmacKey = (hash: Hash) =>
  imported("a text that is not empty", (text) => orNull(utf8(text), (bytes) => importHmac(hash, bytes)));

export const base64HmacKey = (hash: Hash) =>
  imported("a key in base64", (text) => orNull(parseBase64(text), (bytes) => importHmac(hash, bytes)));

export const hexHmacKey = imported("a key in hexadecimal digits", (text) =>
  orNull(parseHex(text), (bytes) => importHmac("SHA-256", bytes)),
);

/** Google's tools write the key as 32 bytes in base64. */
export const ed25519Key = imported("an Ed25519 key: 32 bytes in base64, or PKCS#8 in PEM", (text) => {
  const seed = parseBase64(text.trim());
  const der = seed?.length === 32 ? pkcs8("ed25519", ed25519Seed(seed)) : (parsePem(text)?.der ?? null);
  // workerd also imports an X25519 key here, and throws only when it signs.
  return orNull(der, (bytes) => crypto.subtle.importKey("pkcs8", bytes, { name: "Ed25519" }, false, ["sign"]));
});

export const rsaKey = imported("an RSA key in PEM: PKCS#8 or PKCS#1", async (text) => {
  const key = await importPem(text);
  return key?.kind === "rsa" ? key : null;
});

export const rsaOrP256Key = imported("a key in PEM, RSA or P-256: PKCS#8, PKCS#1 or SEC1", importPem);

async function importPem(text: string): Promise<PrivateKey | null> {
  const pem = parsePem(text);
  if (pem === null) return null;
  const { kind, der } = pem;
  if (kind === "p256") return { kind, key: await importP256(der) };
  try {
    const [sha1, sha256] = await Promise.all([importRsa(der, "SHA-1"), importRsa(der, "SHA-256")]);
    return { kind: "rsa", sha1, sha256 };
  } catch (error) {
    // The PEM label `PRIVATE KEY` (PKCS#8) does not say which kind of key follows, so we try RSA first and then P-256.
    if (kind === "rsa") throw error;
    return { kind: "p256", key: await importP256(der) };
  }
}

/**
 * Reads a private key in PEM: with the label `PRIVATE KEY` (RFC 7468 §10), or with OpenSSL's older labels `RSA PRIVATE KEY` and `EC PRIVATE KEY`.
 * OpenSSL may write a block `EC PARAMETERS` before the key. We skip this block.
 */
function parsePem(text: string): { readonly kind: "rsa" | "p256" | "unknown"; readonly der: Bytes } | null {
  const found = /-----BEGIN (RSA |EC |)PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END \1PRIVATE KEY-----/.exec(text);
  const body = parseBase64((found?.[2] ?? "").replace(/\s/g, ""));
  if (found === null || body === null) return null;
  if (found[1] === "RSA ") return { kind: "rsa", der: pkcs8("rsa", body) };
  if (found[1] === "EC ") return { kind: "p256", der: pkcs8("p256", body) };
  return { kind: "unknown", der: body };
}
