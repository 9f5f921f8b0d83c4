/** The media types of image manifests and of lists. A list names an image manifest for each platform. */
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
 * Removes only HTTP's white space (RFC 9110 §5.6.3). `trim` would also remove characters such as U+FEFF, which Go's `mime.ParseMediaType` keeps. The
 * edge would then read another type than the registry.
 */
const trimmed = (text: string): string => text.replace(/^[ \t]+/, "").replace(/(?<![ \t])[ \t]+$/, "");

export function manifestTypeOf(contentType: string | null): ManifestType | null {
  const mediaType = mediaTypeOf(contentType);
  return [...imageTypes, ...listTypes].find((type) => type === mediaType) ?? null;
}

export const isImageType = (mediaType: string): boolean => imageTypes.some((type) => type === mediaType);

/** We read only this many entries of `Accept`, because each takes time, and a header may have 16,000. Clients send about ten. */
const MAX_ACCEPT_ENTRIES = 100;

/**
 * Whether `Accept` names exactly this type. A wildcard or a missing `Accept` is not enough, because distribution then answers 404 or converts the
 * manifest.
 */
export const accepts = (accept: string | null, type: ManifestType): boolean => acceptedTypes(accept).has(type);

/** Matches quotes and characters outside ASCII in `Accept`. Registries differ in how they read these characters, which no known client sends. */
const readDifferently = /[^\t -~]|"/;

function acceptedTypes(accept: string | null): ReadonlySet<string> {
  const types = new Set<string>();
  const refused = new Set<string>();
  if (accept === null || readDifferently.test(accept)) return types;
  for (const entry of accept.split(",", MAX_ACCEPT_ENTRIES)) {
    const [type = "", weight = "q=1", ...rest] = entry.split(";", 3).map(trimmed);
    // A weight of 0 means that the client does not accept the type (RFC 9110 §12.4.2).
    const isWanted = /^q=(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(weight) && Number(weight.slice(2)) > 0;
    (isWanted && rest.length === 0 ? types : refused).add(type);
  }
  // If one entry accepts a type and another refuses it, registries differ in which entry counts. So we do not count the type as accepted.
  for (const type of refused) types.delete(type);
  return types;
}

/**
 * Whether `Accept` names all types of image manifests and of lists, as docker, containerd, skopeo and crane do. A registry then gives the same
 * answer, whatever else `Accept` says.
 */
export function acceptsAnyManifest(accept: string | null): boolean {
  const accepted = acceptedTypes(accept);
  return [...imageTypes, ...listTypes].every((type) => accepted.has(type));
}
