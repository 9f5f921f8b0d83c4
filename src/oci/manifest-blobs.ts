import { type Digest, parseDigest } from "./digest.ts";
import { isImageType, mediaTypeOf } from "./manifest-types.ts";

/** Media types that a registry looks for among its manifests, or not at all because clients fetch them from elsewhere. */
const notABlob = /manifest|index|foreign|nondistributable/i;

const manifestMembers = ["schemaVersion", "mediaType", "config", "layers", "manifests", "blobs", "fsLayers", "subject"];
const descriptorMembers = ["mediaType", "digest", "size", "urls"];

/** No image has as many layers. Each one costs memory. */
const MAX_BLOBS = 256;

/**
 * The blobs that a registry must have found in the repository when it took this manifest: config and layers, except those that it need
 * not have (OCI image spec, "Descriptors": `urls`). A manifest that two parsers could read in two ways gives none.
 */
export function manifestBlobs(contentType: string | null, bytes: Uint8Array): readonly Digest[] {
  const mediaType = mediaTypeOf(contentType);
  const manifest = isImageType(mediaType) ? parseUnambiguousJson(bytes)?.value : null;
  if (!isPlainObject(manifest, manifestMembers)) return [];
  if (manifest["schemaVersion"] !== 2 || (manifest["mediaType"] ?? mediaType) !== mediaType) return [];
  // If it also reads as an index or another kind, the registry may have checked it as that (CVE-2021-41190).
  if (["manifests", "blobs", "fsLayers"].some((member) => member in manifest)) return [];
  const layers = manifest["layers"];
  const descriptors = [manifest["config"], ...(Array.isArray(layers) ? layers : [])];
  return [...new Set(descriptors.slice(0, MAX_BLOBS).flatMap(blobOf))];
}

function blobOf(descriptor: unknown): readonly Digest[] {
  if (!isPlainObject(descriptor, descriptorMembers)) return [];
  const { mediaType, digest, urls } = descriptor;
  if (typeof mediaType !== "string" || typeof digest !== "string" || notABlob.test(mediaType)) return [];
  const fetchedElsewhere = urls !== undefined && !(Array.isArray(urls) && urls.length === 0);
  const parsed = parseDigest(digest);
  return parsed.ok && !fetchedElsewhere ? [parsed.value] : [];
}

/** False also for an object that spells one of `members` in another case: Go's parsers take `Layers` for `layers`, others do not. */
function isPlainObject<Member extends string>(
  value: unknown,
  members: readonly Member[],
): value is { readonly [name in Member]?: unknown } {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const folded = new Set<string>(members.map(fold));
  return Object.keys(value).every((name) => !folded.has(fold(name)) || members.some((member) => member === name));
}

/** Close to Unicode's simple folding. Both directions are needed: the Kelvin sign only folds down and the long s only up. */
const fold = (name: string): string => name.toUpperCase().toLowerCase();

/**
 * The value of a JSON text that all parsers read alike. Null if the text is not JSON or an object has two members of one name: parsers
 * differ on which of the two counts, so the registry that checked a manifest and the edge that trusts this check could read two things.
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

/** How many members a valid JSON text names: the strings that a colon follows. */
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

/** How many members the objects of a parsed value have, at any depth. */
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
