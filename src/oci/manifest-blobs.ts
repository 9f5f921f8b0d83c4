import { isObject } from "../lib/json.ts";
import { type Digest, parseDigest } from "./digest.ts";
import { isImageType, mediaTypeOf } from "./manifest-types.ts";

/**
 * Matches the media types of descriptors whose content is not a blob of the repository. Registries keep manifests and indexes as manifests, and
 * clients fetch foreign layers from elsewhere.
 */
const notABlob = /manifest|index|foreign|nondistributable/i;

const manifestMembers = ["schemaVersion", "mediaType", "config", "layers", "manifests", "blobs", "fsLayers", "subject"];
const descriptorMembers = ["mediaType", "digest", "size", "urls"];

/** No image has this many layers. There is a limit because the proof of each blob takes memory. */
const MAX_BLOBS = 256;

/**
 * Returns the blobs that a registry must have found in the repository when it accepted this manifest: the config and the layers without `urls`. If
 * two parsers could read the manifest differently, returns none. If they could read only a descriptor differently, leaves out its blob.
 */
export function manifestBlobs(contentType: string | null, bytes: Uint8Array): readonly Digest[] {
  const mediaType = mediaTypeOf(contentType);
  const manifest = isImageType(mediaType) ? parseUnambiguousJson(bytes)?.value : null;
  if (!isPlainObject(manifest, manifestMembers)) return [];
  if (manifest["schemaVersion"] !== 2 || (manifest["mediaType"] ?? mediaType) !== mediaType) return [];
  // With one of these members, the registry may have read the manifest as an index or another kind (CVE-2021-41190). Then the registry did not look
  // for the layers, so the manifest proves no blob.
  if (["manifests", "blobs", "fsLayers"].some((member) => member in manifest)) return [];
  const layers = manifest["layers"];
  const descriptors = [manifest["config"], ...(Array.isArray(layers) ? layers : [])];
  return [...new Set(descriptors.slice(0, MAX_BLOBS).flatMap(blobOf))];
}

function blobOf(descriptor: unknown): readonly Digest[] {
  if (!isPlainObject(descriptor, descriptorMembers)) return [];
  const { mediaType, digest, urls } = descriptor;
  if (typeof mediaType !== "string" || typeof digest !== "string" || notABlob.test(mediaType)) return [];
  // A registry need not have a layer with `urls` (OCI image spec, "Descriptors").
  const fetchedElsewhere = urls !== undefined && !(Array.isArray(urls) && urls.length === 0);
  const parsed = parseDigest(digest);
  return parsed.ok && !fetchedElsewhere ? [parsed.value] : [];
}

/**
 * Whether the value is an object in which all parsers read these member names alike. An object with `Layers` fails, because Go's parser reads this
 * name as `layers`, and other parsers do not.
 */
function isPlainObject<Member extends string>(
  value: unknown,
  members: readonly Member[],
): value is { readonly [name in Member]?: unknown } {
  if (!isObject(value)) return false;
  const folded = new Set<string>(members.map(fold));
  return Object.keys(value).every((name) => !folded.has(fold(name)) || members.some((member) => member === name));
}

/**
 * Removes the difference of upper and lower case, nearly as Unicode's simple folding does. Both calls are needed, because the Kelvin sign becomes `k`
 * only by `toLowerCase`, and the long s becomes `S` only by `toUpperCase`.
 */
const fold = (name: string): string => name.toUpperCase().toLowerCase();

/**
 * Null if the text is not JSON, or if an object in it has a name twice. Parsers differ in which of two equal names counts, so the edge could read
 * another manifest than the registry.
 */
function parseUnambiguousJson(bytes: Uint8Array): { readonly value: unknown } | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const value: unknown = JSON.parse(text);
    return namesIn(text) === membersOf(value) ? { value } : null;
  } catch {
    return null;
  }
}

/** Counts the member names in a valid JSON text, which are the strings before a colon. A repeated name counts each time. */
function namesIn(text: string): number {
  let names = 0;
  for (let start = text.indexOf('"'); start >= 0; ) {
    let end = start + 1;
    while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
    let after = end + 1;
    while (/[ \t\n\r]/.test(text.charAt(after))) after += 1;
    if (text[after] === ":") names += 1;
    start = text.indexOf('"', after);
  }
  return names;
}

/**
 * Counts the members of all objects in a parsed value, at any depth. If the text repeats a name in one object, the name counts once, because
 * `JSON.parse` keeps only its last value.
 */
function membersOf(root: unknown): number {
  let members = 0;
  const open = [root];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value !== "object" || value === null) continue;
    const inside = Object.values(value);
    if (!Array.isArray(value)) members += inside.length;
    for (const each of inside) open.push(each);
  }
  return members;
}
