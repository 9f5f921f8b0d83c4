/** Deletes a group's manifests at its former Pod, after the new Pod has all of them (`podctl move --cleanup`). */
import pMap from "p-map";
import type { RepositoryName } from "../../oci/repository-name.ts";
import type { Both } from "./copy-blob.ts";
import { type Group, listRepositories } from "./lists.ts";
import { removeManifests } from "./remove.ts";
import { createBudget, headManifest, takeSnapshot } from "./snapshot.ts";

type Options = Both & { readonly group: Group; readonly jobs: number };

/** Returns the manifests of the former Pod that the new Pod does not have. */
export async function missingManifests({ source, target, group, jobs }: Options): Promise<readonly string[]> {
  const budget = createBudget();
  const each = async (name: RepositoryName) => {
    const { manifests } = await takeSnapshot(source, name, { jobs, budget });
    const missing = await pMap(
      manifests,
      async (digest) => ((await headManifest(target, name, digest)) === null ? [`${name}@${digest}`] : []),
      { concurrency: jobs },
    );
    return missing.flat();
  };
  return (await pMap(await listRepositories(source, group), each, { concurrency: jobs })).flat();
}

/**
 * Deletes the group's manifests at the former Pod, and returns their number. The registry removes their tags with them, and their blobs when it
 * collects garbage.
 */
export async function deleteManifests({ source, group, jobs }: Options): Promise<number> {
  const budget = createBudget();
  const each = async (name: RepositoryName) => {
    const { manifests } = await takeSnapshot(source, name, { jobs, budget });
    await removeManifests(source, name, [...manifests]);
    return manifests.size;
  };
  const deleted = await pMap(await listRepositories(source, group), each, { concurrency: jobs });
  return deleted.reduce((sum, some) => sum + some, 0);
}
