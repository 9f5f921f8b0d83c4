/**
 * Finds the blobs and manifests that a manifest names, for moves. Pure. A move copies all that it can read, even from a malformed manifest. The edge
 * has a stricter reader (oci/manifest-blobs.ts), because a malformed manifest must not prove any blob.
 */
import { createHash } from "node:crypto";
import { parseJsonObject } from "../../lib/json.ts";
import { type Digest, parseDigest } from "../../oci/digest.ts";

/** `elsewhere`: clients get the blob from another server (`urls` or a foreign media type), so a registry need not have it. */
export type NamedBlob = { readonly digest: Digest; readonly bytes: number; readonly elsewhere: boolean };

export type ManifestParts = {
  readonly blobs: readonly NamedBlob[];
  /** The manifests of an index. */
  readonly children: readonly Digest[];
};

const nothing: ManifestParts = { blobs: [], children: [] };
const manifestType = /manifest|index/i;

export const signedType = "application/vnd.docker.distribution.manifest.v1+prettyjws";
export const indexType = "application/vnd.oci.image.index.v1+json";

export function digestOf(bytes: Uint8Array, algorithm: "sha256" | "sha512" = "sha256"): Digest {
  const digest = parseDigest(`${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`);
  if (!digest.ok) throw new Error("a hash is a digest");
  return digest.value;
}

/**
 * Returns the bytes over which a registry computes a manifest's digest. A manifest of docker's first schema contains its signatures. Its digest is
 * that of the bytes before the signatures were added: the first `formatLength` bytes, then `formatTail` (libtrust, `JSONSignature`).
 */
export function digestedPart(bytes: Uint8Array, type: string): Uint8Array {
  if (type !== signedType) return bytes;
  const [signature] = listOf(parseJsonObject(new TextDecoder().decode(bytes))?.["signatures"]);
  const format = parseJsonObject(Buffer.from(textOf(Object(signature)["protected"]), "base64url").toString());
  const { formatLength, formatTail } = format ?? {};
  if (typeof formatLength !== "number") return bytes;
  return Buffer.concat([bytes.subarray(0, formatLength), Buffer.from(textOf(formatTail), "base64url")]);
}

/** Reads each kind of manifest: images, indexes, artifacts, and docker's first schema. */
export function partsOf(bytes: Uint8Array): ManifestParts {
  const manifest = parseJsonObject(new TextDecoder().decode(bytes));
  if (manifest === null) return nothing;
  const { config, layers, blobs, fsLayers, manifests } = manifest;
  const named = [config, ...listOf(layers), ...listOf(blobs)].flatMap(blobOf);
  const first = listOf(fsLayers).flatMap((layer) => blobOf({ digest: Object(layer)["blobSum"] }));
  const listed = listOf(manifests).map((each) => ({ ...blobOf(each)[0], type: textOf(Object(each)["mediaType"]) }));
  // The index of a build cache lists layers in the place of manifests, so we tell layers from manifests by their media type.
  const [children, cached] = [listed.filter(isChild), listed.filter((each) => !isChild(each))];
  return {
    blobs: unique([...named, ...first, ...cached.flatMap((blob) => (isBlob(blob) ? [blob] : []))]),
    children: [...new Set(children.flatMap(({ digest }) => digest ?? []))],
  };
}

type Listed = Partial<NamedBlob> & { readonly type: string };

const isChild = ({ type }: Listed): boolean => type === "" || manifestType.test(type);
const isBlob = (blob: Listed): blob is Listed & NamedBlob => blob.digest !== undefined;
/** `String(value)` throws for some objects that a pusher can write into a manifest, such as `{"toString":1}`. */
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

function blobOf(descriptor: unknown): readonly NamedBlob[] {
  const { digest, size, urls, mediaType } = Object(descriptor) as Readonly<Record<string, unknown>>;
  const parsed = typeof digest === "string" ? parseDigest(digest) : null;
  if (parsed === null || !parsed.ok) return [];
  const elsewhere =
    listOf(urls).length > 0 || (typeof mediaType === "string" && /foreign|nondistributable/i.test(mediaType));
  return [{ digest: parsed.value, bytes: typeof size === "number" ? size : 0, elsewhere }];
}

const unique = (blobs: readonly NamedBlob[]): readonly NamedBlob[] => [
  ...new Map(blobs.map((blob) => [blob.digest, blob])).values(),
];
