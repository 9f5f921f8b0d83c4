import { createHash } from "node:crypto";
import { isObject, parseJsonObject } from "../../lib/json.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import { type Digest, digestParts, parseDigest } from "../../oci/digest.ts";

export type StoredManifest = {
  readonly mediaType: string;
  readonly body: Uint8Array;
  readonly subject: Digest | null;
  readonly artifactType: string | undefined;
  readonly annotations: unknown;
};

export type Descriptor = { readonly mediaType: string; readonly digest: Digest; readonly hasUrls: boolean };

export type ParsedManifest = StoredManifest & {
  /** The config and layers of an image, or the manifests of an index. */
  readonly references: readonly Descriptor[];
};

export const IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json";
export const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
const DOCKER_IMAGE_TYPE = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json";

export const isIndex = (mediaType: string): boolean => mediaType === INDEX_TYPE || mediaType === DOCKER_INDEX_TYPE;
const isImage = (mediaType: string): boolean => mediaType === IMAGE_TYPE || mediaType === DOCKER_IMAGE_TYPE;

export function computeDigest(algorithm: "sha256" | "sha512", body: Uint8Array): Digest {
  const digest = parseDigest(`${algorithm}:${createHash(algorithm).update(body).digest("hex")}`);
  if (!digest.ok) throw new Error(digest.error);
  return digest.value;
}

export const digestMatches = (digest: Digest, body: Uint8Array): boolean =>
  computeDigest(digestParts(digest).algorithm === "sha512" ? "sha512" : "sha256", body) === digest;

/** Checks the form as distribution does. The error says why the manifest is refused. */
export function parseManifest(contentType: string, body: Uint8Array): Result<ParsedManifest, string> {
  const mediaType = contentType.split(";")[0]?.trim() ?? "";
  if (!isIndex(mediaType) && !isImage(mediaType)) return err(`unsupported manifest media type: ${mediaType}`);
  const fields = parseJsonObject(Buffer.from(body).toString("utf8"));
  if (fields === null) return err("manifest is not a JSON object");
  if (fields["schemaVersion"] !== 2) return err("unrecognized manifest schema version");
  if ((fields["mediaType"] ?? mediaType) !== mediaType) return err("mediaType is not that of the Content-Type header");
  // A body that is both an image and an index is refused, because different clients would read it differently (CVE-2021-41190).
  const foreign = isIndex(mediaType) ? ["config", "layers"] : ["manifests"];
  const mixed = foreign.find((name) => name in fields);
  if (mixed !== undefined) return err(`${mixed} is not a field of ${mediaType}`);
  const references = isIndex(mediaType) ? fields["manifests"] : [fields["config"], ...list(fields["layers"])];
  const descriptors = list(references).map(parseDescriptor);
  if (descriptors.includes(null)) return err("a descriptor has no valid digest");
  return ok({
    mediaType,
    body,
    references: descriptors.filter((descriptor) => descriptor !== null),
    subject: parseSubject(fields["subject"]),
    artifactType: artifactType(fields),
    annotations: fields["annotations"],
  });
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> => (isObject(value) ? { ...value } : {});

function parseDescriptor(value: unknown): Descriptor | null {
  const { digest, mediaType, urls } = fieldsOf(value);
  const parsed = typeof digest === "string" ? parseDigest(digest) : null;
  if (parsed?.ok !== true) return null;
  return {
    digest: parsed.value,
    mediaType: typeof mediaType === "string" ? mediaType : "",
    hasUrls: list(urls).length > 0,
  };
}

function parseSubject(value: unknown): Digest | null {
  const { digest } = fieldsOf(value);
  const parsed = typeof digest === "string" ? parseDigest(digest) : null;
  return parsed?.ok === true ? parsed.value : null;
}

/** If an image has no `artifactType`, the media type of its config takes its place (OCI distribution spec, "Listing Referrers"). */
function artifactType(fields: Readonly<Record<string, unknown>>): string | undefined {
  const own = fields["artifactType"];
  if (typeof own === "string" && own !== "") return own;
  const { mediaType } = fieldsOf(fields["config"]);
  return typeof mediaType === "string" ? mediaType : undefined;
}
