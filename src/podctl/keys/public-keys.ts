import { createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import { calculateJwkThumbprint, type JWK } from "jose";
import { libtrustKeyId } from "../../directory/key-id.ts";
import type { PublicKey } from "../../directory/records.ts";
import { parseJson } from "../../lib/json.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import { keyAlgorithms, keyMistake } from "../../topology/key-mistake.ts";

/**
 * How a token service makes the `kid` of a key. `libtrust`: GitLab and distribution 2. `rfc7638` (a thumbprint) or `own` (the `kid` in the JWK set):
 * distribution 3.
 */
export const kidForms = ["libtrust", "rfc7638", "own"] as const;
export type KidForm = (typeof kidForms)[number];

type FoundKey = { readonly key: KeyObject; readonly alg: string | null; readonly kid: string | null };

/**
 * Returns the public keys of a PEM bundle (certificates or keys) or of a JWK set, as JWKs for a Pod's record. A key that is repeated with the same
 * `kid` is returned once. The error never quotes a key.
 */
export async function importPublicKeys(text: string, form: KidForm): Promise<Result<readonly JWK[], string>> {
  // `trimStart` also removes a byte order mark.
  const trimmed = text.trimStart();
  const found = trimmed.startsWith("{") ? fromJwks(trimmed) : fromPem(trimmed);
  if (!found.ok) return found;
  if (found.value.length === 0) return err("has no key; want PEM certificates or public keys, or a JWK set");
  const keys = new Map<string, JWK>();
  for (const [index, each] of found.value.entries()) {
    const jwk = await recordKey(each, form);
    if (!jwk.ok) return err(`key ${index + 1} ${jwk.error}`);
    const { kid = "" } = jwk.value;
    const same = keys.get(kid);
    if (same !== undefined && (await thumbprint(same)) !== (await thumbprint(jwk.value)))
      return err(`key ${index + 1} has the same kid "${kid}" as another key; want a kid for each`);
    keys.set(kid, jwk.value);
  }
  return ok([...keys.values()]);
}

function fromPem(text: string): Result<readonly FoundKey[], string> {
  const keys: FoundKey[] = [];
  for (const [block, label = ""] of text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g)) {
    if (label.includes("PRIVATE")) return err("has a private key; want only certificates or public keys");
    if (label !== "CERTIFICATE" && !label.endsWith("PUBLIC KEY"))
      return err(`has a "${label}"; want certificates or public keys`);
    try {
      const key = label === "CERTIFICATE" ? new X509Certificate(block).publicKey : createPublicKey(block);
      keys.push({ key, alg: null, kid: null });
    } catch {
      return err(`has a ${label} that cannot be read: number ${keys.length + 1} in the file`);
    }
  }
  const begun = [...text.matchAll(/-----BEGIN /g)].length;
  if (begun > keys.length) return err(`is cut off: ${begun} certificates or keys begin in it, and ${keys.length} end`);
  return ok(keys);
}

function fromJwks(text: string): Result<readonly FoundKey[], string> {
  const json = parseJson(text);
  if (json === undefined) return err("is not JSON");
  const set = Object(json) as Record<string, unknown>;
  const members = Array.isArray(set["keys"]) ? (set["keys"] as unknown[]) : [set];
  const keys: FoundKey[] = [];
  for (const [index, member] of members.entries()) {
    const jwk = Object(member) as JWK;
    if (jwk.d !== undefined || jwk.k !== undefined) return err(`key ${index + 1} is private; want only public keys`);
    // We leave out a key for encryption, because no token is signed by it.
    if (jwk.use === "enc") continue;
    try {
      keys.push({ key: createPublicKey({ key: jwk, format: "jwk" }), alg: jwk.alg ?? null, kid: jwk.kid || null });
    } catch {
      return err(`key ${index + 1} is not a public JWK`);
    }
  }
  return ok(keys);
}

async function recordKey(found: FoundKey, form: KidForm): Promise<Result<JWK, string>> {
  const jwk = supported(found.key) ? (found.key.export({ format: "jwk" }) as JWK) : {};
  const able = keyAlgorithms.get(jwk.crv ?? jwk.kty ?? "") ?? [];
  const alg = found.alg === null ? able[0] : able.find((each) => each === found.alg);
  if (alg === undefined)
    return err(
      `is for "${found.alg ?? found.key.asymmetricKeyType}"; want a key for RSA, P-256, P-384, P-521 or Ed25519`,
    );
  const named = { ...jwk, alg, use: "sig" };
  const wrong = keyMistake(named as PublicKey);
  if (wrong !== null) return err(wrong.text);
  const kid = await keyIdOf(named, form, found.kid);
  return kid === null ? err('has no "kid"; want `--kid libtrust` or `--kid rfc7638`') : ok({ ...named, kid });
}

const supported = ({ asymmetricKeyType }: KeyObject): boolean =>
  asymmetricKeyType === "rsa" || asymmetricKeyType === "ec" || asymmetricKeyType === "ed25519";

async function keyIdOf(jwk: JWK, form: KidForm, own: string | null): Promise<string | null> {
  if (form === "own") return own;
  return form === "libtrust" ? libtrustKeyId(jwk) : thumbprint(jwk);
}

const thumbprint = (jwk: JWK): Promise<string> => calculateJwkThumbprint(jwk, "sha256");
