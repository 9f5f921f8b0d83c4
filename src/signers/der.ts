import { concatBytes } from "../lib/bytes.ts";

/** The DER tags (ITU-T X.690) that private keys and ECDSA signatures need. */
const tags = { integer: 0x02, octetString: 0x04, sequence: 0x30 } as const;
type Bytes = Uint8Array<ArrayBuffer>;

function element(tag: number, content: Bytes): Bytes {
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concatBytes(Uint8Array.of(tag, ...size), content);
}

/** The algorithm identifiers of PKCS#8 in DER: an object identifier, then its parameters. */
const algorithms = {
  /** Identifier 1.2.840.113549.1.1.1, parameters NULL (RFC 8017 appendix A.1). */
  rsa: [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00],
  /** Identifier 1.2.840.10045.2.1, parameter 1.2.840.10045.3.1.7, which is the curve (RFC 5480 §2.1.1). */
  p256: [
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
  ],
  /** Identifier 1.3.101.112, without parameters (RFC 8410 §3). */
  ed25519: [0x06, 0x03, 0x2b, 0x65, 0x70],
} as const;

/**
 * Wraps a private key in PKCS#8 (RFC 5208 §5), because WebCrypto imports private keys only as PKCS#8 or JWK. `key` is in its algorithm's own form:
 * PKCS#1 for RSA, {@link sec1} for P-256, {@link ed25519Seed} for Ed25519.
 */
export function pkcs8(algorithm: keyof typeof algorithms, key: Bytes): Bytes {
  const version = element(tags.integer, Uint8Array.of(0));
  const identifier = element(tags.sequence, Uint8Array.from(algorithms[algorithm]));
  return element(tags.sequence, concatBytes(version, identifier, element(tags.octetString, key)));
}

/** Wraps the 32 bytes of an Ed25519 seed in an octet string, as PKCS #8 wants the private key (RFC 8410 §7). */
export const ed25519Seed = (seed: Bytes): Bytes => element(tags.octetString, seed);

/** Formats a P-256 private key in the form of SEC 1 (RFC 5915 §3), without the optional public key. */
export const sec1 = (value: Bytes): Bytes =>
  element(tags.sequence, concatBytes(element(tags.integer, Uint8Array.of(1)), element(tags.octetString, value)));

/** Converts an ECDSA signature from WebCrypto's form, r and s one after the other, to a DER sequence of two integers (RFC 3279 §2.2.3). */
export function ecdsaSignature(raw: ArrayBuffer): Bytes {
  const half = raw.byteLength / 2;
  const integers = [new Uint8Array(raw, 0, half), new Uint8Array(raw, half)].map((bytes) =>
    element(tags.integer, unsigned(bytes)),
  );
  return element(tags.sequence, concatBytes(...integers));
}

/** Drops leading zeros, but puts one before a first byte of 0x80 or more, because DER would read such a number as negative. */
function unsigned(bytes: Uint8Array): Bytes {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = first < 0 ? Uint8Array.of(0) : bytes.subarray(first);
  return (digits[0] ?? 0) < 0x80 ? Uint8Array.from(digits) : concatBytes(Uint8Array.of(0), digits);
}
