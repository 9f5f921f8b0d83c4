/** Uploads of blobs: `startUpload` answers POST, and `continueUpload` answers GET, PATCH, PUT and DELETE. */
import type { IncomingMessage } from "node:http";
import { err, ok, type Result } from "../../lib/result.ts";
import { type Digest, digestParts, parseDigest } from "../../oci/digest.ts";
import { parseRepositoryName, type RepositoryName } from "../../oci/repository-name.ts";
import type { BlobServices } from "./blobs.ts";
import { failure } from "./errors.ts";
import { publicOrigin, type ToyReply } from "./http.ts";
import type { RepositoryPlace } from "./routes.ts";
import { putBlob } from "./storage-client.ts";
import { appendBody, digestFile, type Upload, type UploadSessions } from "./upload-sessions.ts";

export type UploadServices = BlobServices & { readonly uploads: UploadSessions };

/** Opens an upload, takes a whole blob or mounts a blob (OCI distribution spec, end-4a, end-4b and end-11). */
export async function startUpload(
  services: UploadServices,
  name: RepositoryName,
  query: URLSearchParams,
  request: IncomingMessage,
): Promise<ToyReply> {
  const { repositories, uploads } = services;
  const source = parseRepositoryName(query.get("from") ?? "");
  const mount = parseDigest(query.get("mount") ?? "");
  const stored = source.ok && mount.ok ? repositories.findBlob(source.value, mount.value) : undefined;
  if (mount.ok && stored !== undefined) {
    repositories.open(name).blobs.set(mount.value, stored);
    return created(name, mount.value, request);
  }
  const whole = query.get("mount") === null ? query.get("digest") : null;
  if (whole === null) return progress(uploads, await uploads.start(name), 202, request);
  const digest = parseDigest(whole);
  if (!digest.ok) return failure("DIGEST_INVALID", digest.error);
  const reply = await finish(services, await uploads.start(name), digest.value, request);
  // The answer names the digest that the client sent, as the OCI distribution spec wants. Distribution cannot be our model here, because it takes no
  // whole blob by POST.
  return reply.status === 201 ? created(name, digest.value, request) : reply;
}

type UploadPlace = Extract<RepositoryPlace, { kind: "upload" }>;

export async function continueUpload(
  services: UploadServices,
  { name, id }: UploadPlace,
  query: URLSearchParams,
  request: IncomingMessage,
): Promise<ToyReply> {
  const { uploads } = services;
  const upload = uploads.find(name, id);
  if (upload === undefined) return failure("BLOB_UPLOAD_UNKNOWN");
  // A client that has lost the state can still ask how much has arrived, because GET and HEAD need no state.
  if (request.method === "GET" || request.method === "HEAD") return progress(uploads, upload, 204, request);
  const offset = uploads.stateOffset(query.get("_state") ?? "", upload);
  if (offset === null) return failure("BLOB_UPLOAD_INVALID", "invalid secret");
  if (request.method === "DELETE") {
    await uploads.end(upload);
    return { status: 204, headers: { "Docker-Upload-UUID": id } };
  }
  if (upload.busy || offset !== upload.sizeBytes) return outOfOrder(uploads, upload, request);
  const chunk = checkChunk(upload, request);
  if (!chunk.ok) return chunk.error === "RANGE_INVALID" ? outOfOrder(uploads, upload, request) : failure(chunk.error);
  upload.busy = true;
  try {
    if (request.method === "PATCH") {
      await appendBody(upload, request);
      return progress(uploads, upload, 202, request);
    }
    const digest = parseDigest(query.get("digest") ?? "");
    // If the digest is malformed, the session stays open, so that the client can try again.
    if (!digest.ok) return failure("DIGEST_INVALID", digest.error);
    return await finish(services, upload, digest.value, request);
  } finally {
    upload.busy = false;
  }
}

/** Checks `Content-Range: <start>-<end>` (OCI distribution spec, "Pushing a blob in chunks"). Chunks must come in order. */
function checkChunk(upload: Upload, { headers }: IncomingMessage): Result<null, "RANGE_INVALID" | "SIZE_INVALID"> {
  const range = headers["content-range"];
  if (range === undefined) return ok(null);
  const [, start = "", end = ""] = /^(\d{1,15})-(\d{1,15})$/.exec(range) ?? [];
  if (start === "" || Number(start) !== upload.sizeBytes || Number(start) > Number(end)) return err("RANGE_INVALID");
  const length = headers["content-length"];
  const fits = length === undefined || Number(length) === Number(end) - Number(start) + 1;
  return fits ? ok(null) : err("SIZE_INVALID");
}

async function finish(
  { repositories, uploads, storage }: UploadServices,
  upload: Upload,
  digest: Digest,
  request: IncomingMessage,
): Promise<ToyReply> {
  await appendBody(upload, request);
  try {
    const { algorithm } = digestParts(digest);
    const known = algorithm === "sha256" || algorithm === "sha512";
    if (!known || (await digestFile(upload.file, algorithm)) !== digest) return failure("DIGEST_INVALID", digest);
    const stored = await digestFile(upload.file, "sha256");
    await putBlob(storage, stored, upload.file, upload.sizeBytes);
    repositories.open(upload.name).blobs.set(digest, stored).set(stored, stored);
    return created(upload.name, stored, request);
  } finally {
    await uploads.end(upload);
  }
}

function created(name: RepositoryName, digest: Digest, request: IncomingMessage): ToyReply {
  const location = `${publicOrigin(request)}/v2/${name}/blobs/${digest}`;
  return { status: 201, headers: { Location: location, "Docker-Content-Digest": digest } };
}

function progressHeaders(uploads: UploadSessions, upload: Upload, request: IncomingMessage): Record<string, string> {
  const state = encodeURIComponent(uploads.state(upload));
  return {
    Location: `${publicOrigin(request)}/v2/${upload.name}/blobs/uploads/${upload.id}?_state=${state}`,
    // The range is inclusive, so an empty upload looks like one byte. Distribution gives this answer, too.
    Range: `0-${Math.max(0, upload.sizeBytes - 1)}`,
    "Docker-Upload-UUID": upload.id,
  };
}

const progress = (uploads: UploadSessions, upload: Upload, status: 202 | 204, request: IncomingMessage): ToyReply => ({
  status,
  headers: progressHeaders(uploads, upload, request),
});

const outOfOrder = (uploads: UploadSessions, upload: Upload, request: IncomingMessage): ToyReply =>
  failure("RANGE_INVALID", undefined, progressHeaders(uploads, upload, request));
