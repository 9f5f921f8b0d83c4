import { utf8 } from "./bytes.ts";

/**
 * The secret EDGE_KEYS, parsed: one or two keys of 32 random bytes. New values are sealed with the first key. The second is being replaced, and opens
 * older values.
 */
export type EdgeKeys = readonly Uint8Array<ArrayBuffer>[];

/**
 * Derives an AES-256-GCM key for one purpose from an edge key by HKDF-SHA-256 (RFC 5869). The label names the purpose, so that what was sealed for
 * one purpose cannot be opened for another.
 */
export const deriveAesKey = (edgeKey: EdgeKeys[number], label: string): Promise<CryptoKey> =>
  deriveKey(edgeKey, label, { algorithm: { name: "AES-GCM", length: 256 }, usages: ["encrypt", "decrypt"] });

export const deriveHmacKey = (edgeKey: EdgeKeys[number], label: string): Promise<CryptoKey> =>
  deriveKey(edgeKey, label, { algorithm: { name: "HMAC", hash: "SHA-256", length: 256 }, usages: ["sign"] });

type Derived = {
  readonly algorithm: Parameters<SubtleCrypto["deriveKey"]>[2];
  readonly usages: ("encrypt" | "decrypt" | "sign")[];
};

async function deriveKey(edgeKey: EdgeKeys[number], label: string, { algorithm, usages }: Derived): Promise<CryptoKey> {
  const material = await crypto.subtle.importKey("raw", edgeKey, "HKDF", false, ["deriveKey"]);
  // HKDF gets no salt, because the edge key is random already (RFC 5869 §3.1).
  const hkdf = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: utf8(label) };
  return crypto.subtle.deriveKey(hkdf, material, algorithm, false, usages);
}
