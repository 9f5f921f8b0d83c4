import { CompactEncrypt, compactDecrypt } from "jose";
import { utf8 } from "../lib/bytes.ts";
import { parseJsonObject } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { GatewayKeys } from "./gateway-keys.ts";

type Claims = Readonly<Record<string, unknown>>;

export type Sealing = { readonly keys: GatewayKeys; readonly now: Date };

/** `kind` is in the protected header of the JWE, so claims that were sealed as one kind cannot be opened as another. */
type Sealed = Sealing & { readonly kind: string };

const algorithm = { alg: "dir", enc: "A256GCM" } as const;

/** Seals the claims as a compact JWE. Some clients decode a URL's query and encode it again, which changes no character of a compact JWE. */
export async function sealForGateway(
  claims: Claims,
  lifeSeconds: number,
  { kind, keys, now }: Sealed,
): Promise<string> {
  const exp = Math.floor(now.getTime() / 1000) + lifeSeconds;
  const jwe = new CompactEncrypt(utf8(JSON.stringify({ ...claims, exp })));
  return jwe.setProtectedHeader({ ...algorithm, typ: kind }).encrypt(keys[0]);
}

/** Returns the claims if they were sealed as this `kind` and have not expired. The error says what is wrong, and contains no secret. */
export async function openAtGateway(text: string, { kind, keys, now }: Sealed): Promise<Result<Claims, string>> {
  for (const key of keys) {
    const claims = await open(text, kind, key);
    if (claims === null) continue;
    const { exp } = claims;
    return typeof exp === "number" && now.getTime() / 1000 < exp ? ok(claims) : err(`the ${kind} has expired`);
  }
  return err(`the ${kind} opens with none of this gateway's keys`);
}

async function open(text: string, kind: string, key: Uint8Array<ArrayBuffer>): Promise<Claims | null> {
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(text, key, {
      keyManagementAlgorithms: [algorithm.alg],
      contentEncryptionAlgorithms: [algorithm.enc],
    });
    return protectedHeader.typ === kind ? parseJsonObject(new TextDecoder().decode(plaintext)) : null;
  } catch {
    return null;
  }
}
