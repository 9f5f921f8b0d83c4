/** Says what a move would copy, and what is at the target already. Nothing is written. */
import pMap from "p-map";
import type { Digest } from "../../oci/digest.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import { sizeOf, workOf } from "./differences.ts";
import type { Group } from "./group.ts";
import { listRepositories } from "./lists.ts";
import type { Both } from "./registry.ts";
import { deleteScope } from "./scopes.ts";
import { createBudget, getManifest, takeSnapshot } from "./snapshot.ts";

export type GroupPlan = {
  /** How many repositories, tags and manifests the source holds. */
  readonly repositories: number;
  readonly tags: number;
  readonly manifests: number;
  /** `bytes` counts a blob once, even if several manifests name it. */
  readonly toCopy: { readonly tags: number; readonly manifests: number; readonly bytes: number };
  /** One line for each tag of the target that the source does not have, or has with another manifest. A move would remove or overwrite these tags. */
  readonly inTheWay: readonly string[];
  /** Repositories that have tags at the target, and none at the source. */
  readonly onlyThere: readonly RepositoryName[];
  /** Repositories in which the user may not push and delete at the target, although a move must write there. */
  readonly forbidden: readonly RepositoryName[];
};

export type Planning = Both & {
  readonly group: Group;
  readonly jobs: number;
  /** If true, we read each manifest that is left to copy, because only a manifest names the sizes of its blobs. */
  readonly countsBytes: boolean;
  readonly onRepository?: (done: number, all: number) => void;
};

export async function planGroup({
  source,
  target,
  group,
  jobs,
  countsBytes,
  onRepository,
}: Planning): Promise<GroupPlan> {
  const lists = await Promise.all([source, target].map((registry) => listRepositories(registry, group)));
  const names = [...new Set(lists.flat())].sort();
  const blobs = new Set<Digest>();
  const [ofSource, ofTarget] = [createBudget(), createBudget()];
  let done = 0;
  const each = async (name: RepositoryName) => {
    const [held, there] = await Promise.all([
      takeSnapshot(source, name, { jobs, budget: ofSource }),
      takeSnapshot(target, name, { jobs, budget: ofTarget }),
    ]);
    const work = workOf(held, there);
    const isForbidden = sizeOf(work) > 0 && !(await target.isGranted(deleteScope(name)));
    const counted = countsBytes ? work.manifests : [];
    const bytes = await pMap(counted, (digest) => newBytes(name, digest, { source, blobs }), { concurrency: jobs });
    done += 1;
    onRepository?.(done, names.length);
    return {
      onlyThere: held.tags.size === 0 && there.tags.size > 0 ? [name] : [],
      tags: held.tags.size,
      manifests: held.manifests.size,
      toCopy: { tags: work.tags.length, manifests: work.manifests.length, bytes: sumOf(bytes) },
      forbidden: isForbidden ? [name] : [],
      inTheWay: [
        ...work.gone.map((tag) => `${name}:${tag} is only at ${target.pod.id}`),
        ...work.tags
          .filter(([tag]) => there.tags.has(tag))
          .map(([tag]) => `${name}:${tag} is another manifest at ${target.pod.id}`),
      ],
    };
  };
  const plans = await pMap(names, each, { concurrency: jobs });
  const sum = (count: (plan: (typeof plans)[number]) => number) => sumOf(plans.map(count));
  return {
    repositories: lists[0]?.length ?? 0,
    tags: sum(({ tags }) => tags),
    manifests: sum(({ manifests }) => manifests),
    toCopy: {
      tags: sum(({ toCopy }) => toCopy.tags),
      manifests: sum(({ toCopy }) => toCopy.manifests),
      bytes: sum(({ toCopy }) => toCopy.bytes),
    },
    onlyThere: plans.flatMap(({ onlyThere }) => onlyThere),
    inTheWay: plans.flatMap(({ inTheWay }) => inTheWay),
    forbidden: plans.flatMap(({ forbidden }) => forbidden),
  };
}

type Counting = { readonly source: Both["source"]; readonly blobs: Set<Digest> };

async function newBytes(name: RepositoryName, digest: Digest, { source, blobs }: Counting): Promise<number> {
  const manifest = await getManifest(source, name, digest);
  if (manifest === null) return 0;
  const fresh = manifest.parts.blobs.filter((blob) => !blobs.has(blob.digest));
  for (const blob of fresh) blobs.add(blob.digest);
  return manifest.bytes.byteLength + sumOf(fresh.map(({ bytes }) => bytes));
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);
