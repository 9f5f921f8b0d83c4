import pMap from "p-map";
import type { Digest } from "../../oci/digest.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import { type CopyPorts, createManifestCopy } from "./copy-manifest.ts";
import { sizeOf, type Work, workOf } from "./differences.ts";
import { removeManifests, removeTag } from "./remove.ts";
import { headManifest, type Snapshot } from "./snapshot.ts";

type RepositoryCopied = {
  readonly changes: number;
  /** Whether the target now holds all that is in the source's snapshot. False if, for example, the source deleted a blob during the copy. */
  readonly isWhole: boolean;
  /**
   * Manifests that both Pods have, although no tag, index or referrer of the source leads to them. If the source deletes them later, the next round
   * deletes them at the target.
   */
  readonly untagged: readonly Digest[];
};

export async function copyRepository(
  name: RepositoryName,
  [source, target]: readonly [Snapshot, Snapshot],
  ports: CopyPorts,
): Promise<RepositoryCopied> {
  const work = workOf(source, target);
  const manifests = ports.looked.has(name) ? work.manifests : [...source.manifests];
  const copy = createManifestCopy({ ...ports, name }, target);
  const tagsOf = Map.groupBy(work.tags, ([, digest]) => digest);
  const { jobs } = ports;
  await pMap(
    manifests.filter((digest) => !tagsOf.has(digest)),
    copy.manifest,
    { concurrency: jobs },
  );
  await pMap(
    tagsOf,
    ([digest, tags]) =>
      copy.tags(
        digest,
        tags.map(([tag]) => tag),
      ),
    { concurrency: jobs },
  );
  ports.looked.add(name);
  await pMap(work.fallbacks, (digest) => copy.referrers(digest, source), { concurrency: jobs });
  const untagged = await removeRest(name, target, work, ports);
  return { changes: sizeOf(work), isWhole: copy.isWhole(), untagged };
}

/**
 * Removes from the target the tags that the source does not have any more, and the manifests that the source has deleted. A manifest whose tag is
 * gone stays at the target if the source still has it. Returns these manifests.
 */
async function removeRest(
  name: RepositoryName,
  target: Snapshot,
  { gone, dead }: Work,
  ports: CopyPorts,
): Promise<readonly Digest[]> {
  const deleted = await pMap(
    dead,
    async (digest) => ((await headManifest(ports.source, name, digest)) === null ? [digest] : []),
    { concurrency: ports.jobs },
  );
  const isDeleted = new Set(deleted.flat());
  // A registry removes a manifest's tags together with the manifest. So we remove a tag by its name only if its manifest stays.
  await removeManifests(ports.target, name, [...isDeleted]);
  const left = gone.filter((tag) => !isDeleted.has(target.tags.get(tag) as Digest));
  for (const tag of left) await removeTag(ports.target, name, tag);
  ports.copied.removed += isDeleted.size + left.length;
  return dead.filter((digest) => !isDeleted.has(digest));
}
