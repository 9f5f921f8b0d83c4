/** GET, HEAD and DELETE of a blob (OCI distribution spec, end-2 and end-10). */
import { failure } from "./errors.ts";
import type { ToyReply } from "./http.ts";
import type { Repositories } from "./repositories.ts";
import type { RepositoryPlace } from "./routes.ts";
import { redirectUrl, type ToyStorageClientOptions } from "./storage-client.ts";

export type BlobServices = { readonly repositories: Repositories; readonly storage: ToyStorageClientOptions };

type BlobPlace = Extract<RepositoryPlace, { kind: "blob" }>;

/** Checks that the repository has the blob before a URL is signed, because the key in storage does not name a repository. */
export function redirectToStorage(
  { repositories, storage }: BlobServices,
  { name, digest }: BlobPlace,
  method: "GET" | "HEAD",
): ToyReply {
  const stored = repositories.findBlob(name, digest);
  if (stored === undefined) return failure("BLOB_UNKNOWN", digest);
  const headers = { "Content-Type": "application/octet-stream", Location: redirectUrl(storage, method, stored) };
  return { status: 307, headers };
}

/** Removes the blob from the repository but not from storage, because other repositories may have the same bytes. */
export const deleteBlob = ({ repositories }: BlobServices, { name, digest }: BlobPlace): ToyReply =>
  repositories.find(name)?.blobs.delete(digest) === true ? { status: 202 } : failure("BLOB_UNKNOWN");
