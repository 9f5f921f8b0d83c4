import { randomUUID } from "node:crypto";
import type { Digest } from "../../oci/digest.ts";
import type { Reference, Tag } from "../../oci/reference.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import { digestOf, indexType } from "./manifest-parts.ts";
import { type Answer, type Registry, textOf } from "./registry.ts";
import { deleteScope, pushScope } from "./scopes.ts";

/**
 * With a manifest, most registries also remove its tags. A manifest that is gone already is no error. Some registries refuse to remove a manifest
 * that an index still names, so we try these again in a next round. If a round removes nothing, or a refusal has another status, throws a CliFailure.
 */
export async function removeManifests(
  registry: Registry,
  name: RepositoryName,
  digests: readonly Digest[],
): Promise<void> {
  const refused: Digest[] = [];
  let failure: CliFailure | null = null;
  for (const digest of digests) {
    const answer = await remove(registry, name, digest);
    if (isRemoved(answer)) continue;
    failure = refusedDelete(registry, `${name}@${digest}`, answer);
    if (!stillNamedStatuses.includes(answer.status)) throw failure;
    refused.push(digest);
  }
  if (failure === null) return;
  if (refused.length === digests.length) throw failure;
  await removeManifests(registry, name, refused);
}

/** If an index still names the manifest, GitLab answers 409, and zot 405. Other registries answer 405 if deletes are turned off. */
const stillNamedStatuses: readonly number[] = [409, 405];

const isRemoved = ({ status }: Answer): boolean => [200, 202, 404].includes(status);

const remove = (registry: Registry, name: RepositoryName, reference: Reference): Promise<Answer> =>
  registry.ask({ method: "DELETE", path: `/v2/${name}/manifests/${reference}`, scopes: [deleteScope(name)] });

/** Removes a tag, and leaves its manifest. */
export async function removeTag(registry: Registry, name: RepositoryName, tag: Tag): Promise<void> {
  const answer = await remove(registry, name, tag);
  if (isRemoved(answer)) return;
  if (![400, 405].includes(answer.status)) throw refusedDelete(registry, `${name}:${tag}`, answer);
  // docker-registry 2.8 cannot delete a tag by its name. So we point the tag to a new, empty index, and then delete this index, which removes the
  // tag, too.
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: indexType,
      manifests: [],
      annotations: { "podctl.move": randomUUID() },
    }),
  );
  const path = `/v2/${name}/manifests/${tag}`;
  const headers = { "Content-Type": indexType };
  const put = await registry.ask({ method: "PUT", path, scopes: [pushScope(name)], headers, body: bytes });
  if (put.status !== 201) throw refusedDelete(registry, `${name}:${tag}`, put);
  await removeManifests(registry, name, [digestOf(bytes)]);
}

function refusedDelete({ pod }: Registry, what: string, { status, bytes }: Answer): CliFailure {
  const advice =
    status === 409
      ? `if an index at Pod "${pod.id}" still names it, delete that index there`
      : "turn on deletes in the registry (storage.delete.enabled)";
  return new CliFailure(
    `Pod "${pod.id}" answers ${status} to the deletion of "${what}": ${textOf(bytes)}; ${advice} and run the command again`,
  );
}
