/** The media types of image manifests, and of lists, which name one image manifest for each platform. */
const imageTypes = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
] as const;
const listTypes = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
] as const;

export type ManifestType = (typeof imageTypes)[number] | (typeof listTypes)[number];

export const mediaTypeOf = (contentType: string | null): string => trimmed(contentType?.split(";")[0] ?? "");

/**
 * Removes only the white space of HTTP (RFC 9110 §5.6.3). `trim` would also remove U+FEFF and other characters, which Go's `mime.ParseMediaType`
 * keeps. The edge would then read another type than a registry.
 */
const trimmed = (text: string): string => text.replace(/^[ \t]+/, "").replace(/(?<![ \t])[ \t]+$/, "");

/** Null if the content type is not that of a manifest. */
export function manifestTypeOf(contentType: string | null): ManifestType | null {
  const mediaType = mediaTypeOf(contentType);
  return [...imageTypes, ...listTypes].find((type) => type === mediaType) ?? null;
}

/** Whether a manifest of this type names blobs. A list does not: it names only manifests. */
export const isImageType = (mediaType: string): boolean => imageTypes.some((type) => type === mediaType);

/** We read at most this many entries of `Accept`, because each takes time, and 16,000 fit into a header. Clients name about ten. */
const MAX_ACCEPT_ENTRIES = 100;

/**
 * Whether `Accept` names exactly this type in its first entries. A wildcard or a missing `Accept` is not enough, because registries treat it
 * differently: some serve this type, but distribution answers 404 or converts the manifest.
 */
export const accepts = (accept: string | null, type: ManifestType): boolean => acceptedTypes(accept).has(type);

/** Registries differ in how they read quotes and characters outside ASCII in `Accept`. No known client sends any. */
const readDifferently = /[^\t -~]|"/;

function acceptedTypes(accept: string | null): ReadonlySet<string> {
  const types = new Set<string>();
  const refused = new Set<string>();
  if (accept === null || readDifferently.test(accept)) return types;
  for (const entry of accept.split(",", MAX_ACCEPT_ENTRIES)) {
    const [type = "", weight = "q=1", ...rest] = entry.split(";", 3).map(trimmed);
    // RFC 9110 §12.4.2: a weight of 0 means that the type is not acceptable.
    const isWanted = /^q=(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(weight) && Number(weight.slice(2)) > 0;
    (isWanted && rest.length === 0 ? types : refused).add(type);
  }
  // If a type is named twice, registries differ in which entry counts.
  for (const type of refused) types.delete(type);
  return types;
}

/**
 * Whether `Accept` names all image types and list types, as docker, containerd, skopeo and crane do. Such a client gets the same answer from a
 * registry, whatever else `Accept` says.
 */
export function acceptsAnyManifest(accept: string | null): boolean {
  const accepted = acceptedTypes(accept);
  return [...imageTypes, ...listTypes].every((type) => accepted.has(type));
}
