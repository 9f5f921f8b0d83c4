import type { IncomingMessage } from "node:http";
import type { Digest } from "../../oci/digest.ts";
import { failure, failures } from "./errors.ts";
import { publicOrigin, type ToyReply } from "./http.ts";
import {
  computeDigest,
  type Descriptor,
  digestMatches,
  IMAGE_TYPE,
  INDEX_TYPE,
  isIndex,
  type ParsedManifest,
  parseManifest,
} from "./parse-manifest.ts";
import type { Repositories, Repository } from "./repositories.ts";
import type { RepositoryPlace } from "./routes.ts";

type ManifestPlace = Extract<RepositoryPlace, { kind: "manifest" }>;

const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

export function getManifest(repositories: Repositories, place: ManifestPlace, request: IncomingMessage): ToyReply {
  const repository = repositories.find(place.name);
  const digest = "tag" in place.reference ? repository?.tags.get(place.reference.tag) : place.reference.digest;
  const manifest = digest === undefined ? undefined : repository?.manifests.get(digest);
  if (digest === undefined || manifest === undefined) return failure("MANIFEST_UNKNOWN", unknownDetail(place));
  const etag = `"${digest}"`;
  const ifNoneMatch = request.headers["if-none-match"];
  if (ifNoneMatch === etag || ifNoneMatch === digest) return { status: 304 };
  const { mediaType, body } = manifest;
  // Distribution serves an OCI type only to a client whose Accept header names that type. `*/*` is not enough.
  if ((mediaType === IMAGE_TYPE || mediaType === INDEX_TYPE) && !accepts(request, mediaType)) {
    return failure("MANIFEST_UNKNOWN", "OCI manifest found, but accept header does not support it");
  }
  return {
    status: 200,
    headers: { "Content-Type": mediaType, "Docker-Content-Digest": digest, ETag: etag },
    body,
  };
}

const accepts = (request: IncomingMessage, mediaType: string): boolean =>
  (request.headers.accept ?? "").split(",").some((entry) => entry.split(";")[0]?.trim() === mediaType);

const unknownDetail = ({ name, reference }: ManifestPlace) =>
  "tag" in reference ? { name, tag: reference.tag } : { name, revision: reference.digest };

export async function putManifest(
  { repositories, lenientManifests }: { readonly repositories: Repositories; readonly lenientManifests: boolean },
  { name, reference }: ManifestPlace,
  request: IncomingMessage,
): Promise<ToyReply> {
  const body = await readBody(request, MAX_MANIFEST_BYTES);
  if (body === null) {
    // We answer 413, as the OCI spec wants ("Pushing Manifests"). Distribution answers 400.
    return { ...failure("MANIFEST_INVALID", "manifest is larger than 4 MiB", { Connection: "close" }), status: 413 };
  }
  const parsed = parseManifest(request.headers["content-type"] ?? "", body);
  if (!parsed.ok) return failure("MANIFEST_INVALID", parsed.error);
  const digest = "digest" in reference ? reference.digest : computeDigest("sha256", body);
  if (!digestMatches(digest, body)) return failure("DIGEST_INVALID");
  const missing = lenientManifests ? [] : missingReferences(parsed.value, repositories.find(name));
  if (missing.length > 0) return failures("MANIFEST_BLOB_UNKNOWN", missing);
  const repository = repositories.open(name);
  addRevision(repository, digest, parsed.value);
  if ("tag" in reference) {
    repository.tags.set(reference.tag, digest);
    repository.everTagged = true;
  }
  const { subject } = parsed.value;
  const headers = {
    Location: `${publicOrigin(request)}/v2/${name}/manifests/${digest}`,
    "Docker-Content-Digest": digest,
    ...(subject === null ? {} : { "OCI-Subject": subject }),
  };
  return { status: 201, headers };
}

/** Returns the references that this repository does not have, even if other repositories have them. */
function missingReferences(manifest: ParsedManifest, repository: Repository | undefined): readonly Digest[] {
  const { references, mediaType } = manifest;
  const held = ({ digest, hasUrls, ...descriptor }: Descriptor): boolean => {
    if (isIndex(mediaType)) return repository?.manifests.has(digest) ?? false;
    // Clients get a non-distributable layer from its own URLs, so the repository need not have the layer.
    if (hasUrls && /nondistributable|foreign/.test(descriptor.mediaType)) return true;
    return repository?.blobs.has(digest) ?? false;
  };
  return references.filter((descriptor) => !held(descriptor)).map(({ digest }) => digest);
}

/**
 * Returns null if the body is larger than `maxBytes`. The rest of it is still read and dropped, because the client might otherwise miss the answer.
 */
async function readBody(request: IncomingMessage, maxBytes: number): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > maxBytes) {
      request.resume();
      return null;
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

export function deleteManifest(repositories: Repositories, place: ManifestPlace): ToyReply {
  const repository = repositories.find(place.name);
  const removed =
    "tag" in place.reference
      ? repository?.tags.delete(place.reference.tag)
      : repository !== undefined && deleteRevision(repository, place.reference.digest);
  return removed === true ? { status: 202 } : failure("MANIFEST_UNKNOWN", unknownDetail(place));
}

function addRevision({ manifests, referrers }: Repository, digest: Digest, manifest: ParsedManifest): void {
  manifests.set(digest, manifest);
  const { subject } = manifest;
  if (subject === null) return;
  const others = referrers.get(subject) ?? new Set();
  referrers.set(subject, others.add(digest));
}

function deleteRevision(repository: Repository, digest: Digest): boolean {
  const subject = repository.manifests.get(digest)?.subject ?? null;
  if (!repository.manifests.delete(digest)) return false;
  if (subject !== null) repository.referrers.get(subject)?.delete(digest);
  for (const [tag, tagged] of repository.tags) if (tagged === digest) repository.tags.delete(tag);
  return true;
}
