import { type PodId, parsePodId } from "../directory/pod-id.ts";
import { base64url, parseBase64url, utf8 } from "../lib/bytes.ts";
import type { RepositoryName } from "../oci/repository-name.ts";

/** The parameter of a push location that keeps an upload with the Pod where it began, whatever the directory says meanwhile. */
export const pinParameter = "_pod";

/** Registries purge an unfinished upload after a week. */
const lifeSeconds = 7 * 24 * 3600;
const ivBytes = 12;
const expiryBytes = 8;

type Pinned = { readonly repository: RepositoryName; readonly upload: string };
export type UploadKeys = readonly Uint8Array<ArrayBuffer>[];

/** AES-256-GCM over Pod and expiry, with repository and upload as its additional data: none of the four can be exchanged. */
export async function sealPin(pod: PodId, pinned: Pinned, keys: UploadKeys, now: Date): Promise<string> {
  const [key] = keys;
  if (key === undefined) throw new Error("no upload key is configured");
  const iv = crypto.getRandomValues(new Uint8Array(ivBytes));
  const plain = new Uint8Array(expiryBytes + pod.length);
  new DataView(plain.buffer).setBigUint64(0, BigInt(Math.floor(now.getTime() / 1000) + lifeSeconds));
  plain.set(utf8(pod), expiryBytes);
  const sealed = await crypto.subtle.encrypt(parameters(iv, pinned), await importKey(key, "encrypt"), plain);
  const out = new Uint8Array(ivBytes + sealed.byteLength);
  out.set(iv);
  out.set(new Uint8Array(sealed), ivBytes);
  return base64url(out);
}

/** The Pod of a pin; null for one that is forged, expired, or of another repository or upload. Two keys are live while one is replaced. */
export async function openPin(text: string, pinned: Pinned, keys: UploadKeys, now: Date): Promise<PodId | null> {
  const bytes = parseBase64url(text);
  if (bytes === null || bytes.byteLength <= ivBytes) return null;
  for (const key of keys) {
    const plain = await decrypt(bytes, pinned, key);
    if (plain === null) continue;
    const expiresAtSeconds = Number(new DataView(plain.buffer).getBigUint64(0));
    const pod = parsePodId(new TextDecoder().decode(plain.subarray(expiryBytes)));
    return pod.ok && now.getTime() / 1000 < expiresAtSeconds ? pod.value : null;
  }
  return null;
}

async function decrypt(
  bytes: Uint8Array<ArrayBuffer>,
  pinned: Pinned,
  key: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array | null> {
  try {
    const iv = bytes.slice(0, ivBytes);
    return new Uint8Array(
      await crypto.subtle.decrypt(parameters(iv, pinned), await importKey(key, "decrypt"), bytes.slice(ivBytes)),
    );
  } catch {
    return null;
  }
}

/** A space stands in neither a repository name nor an upload id, so the pair is unambiguous. */
const parameters = (iv: Uint8Array<ArrayBuffer>, { repository, upload }: Pinned) => ({
  name: "AES-GCM",
  iv,
  additionalData: utf8(`${repository} ${upload}`),
});

const importKey = (key: Uint8Array<ArrayBuffer>, usage: "encrypt" | "decrypt"): Promise<CryptoKey> =>
  crypto.subtle.importKey("raw", key, "AES-GCM", false, [usage]);
