import type { Directory, DirectoryFailure, Pod } from "../directory/directory.ts";
import { resolvePod } from "../directory/resolve.ts";
import { ok, type Result } from "../lib/result.ts";
import type { RepositoryEndpoint } from "../oci/endpoint.ts";
import { withoutParameters } from "../oci/query.ts";

/**
 * A mount whose source is another Pod's becomes a plain upload: the Pod answers 202 and the client sends the blob (end-11).
 * Anything else, 401 and 404 above all, ends a push in some clients.
 */
export async function settleMount(
  endpoint: RepositoryEndpoint,
  pod: Pod,
  directory: Directory,
): Promise<Result<RepositoryEndpoint, DirectoryFailure>> {
  if (endpoint.kind !== "upload-start" || endpoint.mount === null) return ok(endpoint);
  const { from } = endpoint.mount;
  if (from.kind === "absent") return ok(endpoint);
  // `origin` is go-containerregistry's hint beside `from`.
  const plain = { ...endpoint, mount: null, query: withoutParameters(endpoint.query, ["origin"]) };
  if (from.kind === "unusable") return ok(plain);
  const source = await resolvePod(directory, from.name, null);
  if (!source.ok) return source;
  // What operators have blocked is not to be had under another name either.
  return ok(source.value.pod?.id === pod.id && source.value.blocked === null ? endpoint : plain);
}
