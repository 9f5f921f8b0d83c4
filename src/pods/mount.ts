import type { Directory, Pod } from "../directory/directory.ts";
import type { ChosenBy } from "../directory/kv-cache.ts";
import { resolvePod } from "../directory/resolve.ts";
import type { RepositoryEndpoint } from "../oci/endpoint.ts";
import { withoutParameters } from "../oci/query.ts";
import type { RepositoryName } from "../oci/repository-name.ts";
import { passGate, type Visit } from "./gate.ts";

type MountSource = {
  readonly directory: Directory;
  /** Says whose budget pays for the look-up of the source's name in KV. */
  readonly chosenBy: (source: RepositoryName) => ChosenBy;
  readonly visit: Visit;
  /**
   * Whether the mount may be sent to the Pod. The Pod answers 401 if the token does not allow a pull of `source`, and some clients then end the push.
   */
  readonly mayPull: (source: RepositoryName) => boolean;
};

/**
 * Whether a client ends its push if a mount is answered with 401, as Jib does. Jib would skip a mount for which its token lacks the right, but it
 * cannot read the edge's tokens, so it always tries. Other clients answer the 401 with a request for a new token, and then their mount succeeds.
 */
export const endsAtMountChallenge = (userAgent: string | null): boolean => /^jib\b/i.test(userAgent ?? "");

/**
 * Turns a mount into a plain upload if its source may not be pulled, or is not known to belong to the same Pod. The Pod then answers 202, and the
 * client sends the blob (OCI end-11). Without this, the Pod might answer 404, which ends the push in some clients.
 */
export async function settleMount(
  endpoint: RepositoryEndpoint,
  pod: Pod,
  { directory, chosenBy, visit, mayPull }: MountSource,
): Promise<RepositoryEndpoint> {
  if (endpoint.kind !== "upload-start" || endpoint.mount === null) return endpoint;
  const { from } = endpoint.mount;
  // go-containerregistry sends the hint `origin` together with `from`, so both are dropped.
  const plain = { ...endpoint, mount: null, query: withoutParameters(endpoint.query, ["origin"]) };
  if (from.kind === "unusable") return plain;
  const source = await resolvePod(directory, { name: from.name, chosenBy: chosenBy(from.name) });
  if (!source.ok) return plain;
  // If the gate refuses a GET of the source, a mount must not make the source's blobs readable in another repository.
  const readable = passGate("GET", source.value, visit);
  const name = source.value.renamed?.to ?? from.name;
  if (!readable.ok || readable.value.id !== pod.id || !mayPull(name)) return plain;
  return { ...endpoint, mount: { ...endpoint.mount, from: { kind: "name", name } } };
}
