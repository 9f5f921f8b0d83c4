import { randomUUID } from "node:crypto";
import type { Digest } from "../../oci/digest.ts";
import type { Tag } from "../../oci/reference.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import { textOf } from "./copy-blob.ts";
import { digestOf, indexType } from "./manifest-parts.ts";
import type { Answer, Registry } from "./registry.ts";
import { deleteScope, pushScope } from "./scopes.ts";

/** Removes a manifest. Most registries then also remove its tags. A manifest that is gone already is no error. */
export async function removeManifest(registry: Registry, name: RepositoryName, digest: Digest): Promise<void> {
  const path = `/v2/${name}/manifests/${digest}`;
  const answer = await registry.ask({ method: "DELETE", path, scopes: [deleteScope(name)] });
  if (![200, 202, 404].includes(answer.status)) throw refusedDelete(registry, `${name}@${digest}`, answer);
}

/** Removes a tag, and leaves its manifest. */
export async function removeTag(registry: Registry, name: RepositoryName, tag: Tag): Promise<void> {
  const path = `/v2/${name}/manifests/${tag}`;
  const answer = await registry.ask({ method: "DELETE", path, scopes: [deleteScope(name)] });
  if ([200, 202, 404].includes(answer.status)) return;
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
  const headers = { "Content-Type": indexType };
  const put = await registry.ask({ method: "PUT", path, scopes: [pushScope(name)], headers, body: bytes });
  if (put.status !== 201) throw refusedDelete(registry, `${name}:${tag}`, put);
  await removeManifest(registry, name, digestOf(bytes));
}

const refusedDelete = ({ pod }: Registry, what: string, { status, bytes }: Answer): CliFailure =>
  new CliFailure(
    `Pod "${pod.id}" answers ${status} to the deletion of "${what}", which the other Pod does not have any more: ${textOf(bytes)}; ` +
      "turn on deletes in the registry (storage.delete.enabled) and run the command again",
  );
