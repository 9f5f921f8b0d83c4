import { type PodId, parsePodId } from "../directory/pod-id.ts";
import { base64url, concatBytes, parseBase64url, utf8 } from "../lib/bytes.ts";
import { deriveAesKey, type EdgeKeys } from "../lib/derive-key.ts";
import type { RepositoryName } from "../oci/repository-name.ts";

/** The parameter of a push location that keeps an upload at the Pod where it began, even if the directory changes meanwhile. */
export const pinParameter = "_pod";

/** Registries purge an unfinished upload after a week, so no pin needs to be valid for longer. */
const lifeSeconds = 7 * 24 * 3600;
const ivBytes = 12;
const expiryBytes = 8;
/** If this label changes, every pin in use becomes invalid. */
const keyLabel = "upload-pin";

type Pinned = { readonly repository: RepositoryName; readonly upload: string };
type PinContext = { readonly edgeKeys: EdgeKeys; readonly now: Date };

/** Encrypts the Pod and the expiry with AES-256-GCM, and authenticates the repository and the upload. So a client cannot change any of the four. */
export async function sealPin(pod: PodId, pinned: Pinned, { edgeKeys, now }: PinContext): Promise<string> {
  const [edgeKey] = edgeKeys;
  if (edgeKey === undefined) throw new Error("no edge key is configured");
  const iv = crypto.getRandomValues(new Uint8Array(ivBytes));
  const plain = new Uint8Array(expiryBytes + pod.length);
  new DataView(plain.buffer).setBigUint64(0, BigInt(Math.floor(now.getTime() / 1000) + lifeSeconds));
  plain.set(utf8(pod), expiryBytes);
  const sealed = await crypto.subtle.encrypt(parameters(iv, pinned), await deriveAesKey(edgeKey, keyLabel), plain);
  return base64url(concatBytes(iv, new Uint8Array(sealed)));
}

/** Returns the Pod of a pin. Null if the pin is forged, has expired, or was made for another repository or upload. */
export async function openPin(text: string, pinned: Pinned, { edgeKeys, now }: PinContext): Promise<PodId | null> {
  const bytes = parseBase64url(text);
  if (bytes === null || bytes.byteLength <= ivBytes) return null;
  // While an edge key is being replaced, there are two keys, and some pins in use were sealed with the older one.
  for (const edgeKey of edgeKeys) {
    const plain = await decrypt(bytes, pinned, edgeKey);
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
  edgeKey: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer> | null> {
  const key = await deriveAesKey(edgeKey, keyLabel);
  try {
    const plain = await crypto.subtle.decrypt(parameters(bytes.slice(0, ivBytes), pinned), key, bytes.slice(ivBytes));
    return new Uint8Array(plain);
  } catch {
    return null;
  }
}

/** No two uploads give the same `additionalData`, because neither a repository name nor an upload id contains a space. */
const parameters = (iv: Uint8Array<ArrayBuffer>, { repository, upload }: Pinned) => ({
  name: "AES-GCM",
  iv,
  additionalData: utf8(`${repository} ${upload}`),
});
