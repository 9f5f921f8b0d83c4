/** Copies a group from one Pod to another in rounds, and compares what both Pods hold. */
import pMap from "p-map";
import type { Digest } from "../../oci/digest.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import { counted } from "../output.ts";
import type { CopyWays } from "./copy-blob.ts";
import { type Copied, type CopyPorts, nothingCopied } from "./copy-manifest.ts";
import { copyRepository } from "./copy-repository.ts";
import { differencesOf } from "./differences.ts";
import type { Group } from "./group.ts";
import { createLimit, createTurns } from "./limit.ts";
import { listRepositories } from "./lists.ts";
import { type Both, guardWrites, type MayWrite, type Registry } from "./registry.ts";
import {
  type Budget,
  createBudget,
  fingerprintOf,
  headManifest,
  type Snapshot,
  type SnapshotOptions,
  takeSnapshot,
} from "./snapshot.ts";
import type { Saved } from "./state-file.ts";

type Progress = {
  readonly saved: Map<RepositoryName, Saved>;
  readonly save: (name: RepositoryName, saved: Saved) => Promise<void>;
  readonly onRepository?: (done: number, all: number) => void;
};

type Round = {
  /** How many manifests and tags were copied or removed. */
  readonly changes: number;
  readonly problems: readonly string[];
};

export type GroupCopy = {
  readonly copied: Copied;
  /** Copies what changed since the last round. Calls `mayWrite` before each repository and before each write to the target. */
  readonly round: (mayWrite: MayWrite) => Promise<Round>;
  /** Compares the tags, manifests and referrers that both Pods hold now. Returns one line for each difference. */
  readonly compare: () => Promise<readonly string[]>;
};

type Options = CopyWays & {
  readonly group: Group;
  readonly jobs: number;
  /** Whether the move may empty the target if the source lists no repository (`--overwrite`). */
  readonly mayEmpty: boolean;
  readonly progress: Progress;
};

export function createGroupCopy({ group, jobs, mayEmpty, progress, ...ways }: Options): GroupCopy {
  const { source, target } = ways;
  const copied = nothingCopied();
  /** What the target holds, as far as this run knows. Only this move writes there, so we do not read the target again in each round. */
  const held = new Map<RepositoryName, Snapshot>();
  /** What the source held in the last round. */
  const seen = new Map<RepositoryName, Snapshot>();
  const { savedOf, save } = memoryOf(progress);
  let problems: string[] = [];
  const [limit, turns] = [createLimit(jobs), createTurns<Digest>()];
  const complain = (problem: string) => void problems.push(problem);
  const ports: CopyPorts = { ...ways, jobs, copied, limit, turns, homes: new Map(), looked: new Set(), complain };
  const copyOne = async (name: RepositoryName, budget: Budget, guarded: CopyPorts): Promise<number> => {
    const known = held.get(name);
    const now = await takeSnapshot(source, name, { jobs, known, budget });
    const fingerprint = fingerprintOf(now);
    seen.set(name, now);
    const former = savedOf(name);
    // The source holds exactly what it held when this repository was last copied whole, so the target holds all of it already.
    if (former.fingerprint === fingerprint && former.untagged.length === 0) {
      held.set(name, { ...now, listsReferrers: former.listsReferrers });
      return 0;
    }
    const before =
      known ?? (await takeTargetSnapshot(target, name, { jobs, known: now, budget, untagged: former.untagged }));
    held.delete(name);
    const { listsReferrers } = before;
    // If this run is killed during the copy, the next run must know which manifests without a tag the target may have. No list of a registry names
    // such manifests, so we save them before the copy.
    await save(name, { fingerprint: null, untagged: onlyInOne(before.manifests, now.manifests), listsReferrers });
    const { changes, isWhole, untagged } = await copyRepository(name, [now, before], guarded);
    if (!isWhole) return changes;
    // We also remember the manifests without a tag. If the source deletes one, the next round deletes it at the target.
    held.set(name, { ...withManifests(now, untagged), listsReferrers });
    await save(name, { fingerprint, untagged, listsReferrers });
    return changes;
  };
  return {
    copied,
    round: async (mayWrite) => {
      problems = [];
      const names = await namesAtBoth(ways, group, mayEmpty);
      const [budget, guarded] = [createBudget(), guardPorts(ports, mayWrite)];
      let done = 0;
      const each = async (name: RepositoryName) => {
        await mayWrite();
        const changes = await copyOne(name, budget, guarded);
        done += 1;
        progress.onRepository?.(done, names.length);
        return changes;
      };
      const changes = await pMap(names, each, { concurrency: jobs });
      return { changes: changes.reduce((sum, some) => sum + some, 0), problems };
    },
    compare: async () => {
      const budget = createBudget();
      // The source is read again, because a push that was under way may have ended there since the last round.
      const each = async (name: RepositoryName) => {
        const differences = await compareBoth(ways, name, { jobs, known: seen.get(name), budget });
        // If the Pods differ, `held` may be wrong about the target. So we delete the entry, and the next round reads the target again.
        if (differences.length > 0 && held.delete(name)) await save(name, { ...savedOf(name), fingerprint: null });
        return differences;
      };
      return (await pMap(await namesAtBoth(ways, group, mayEmpty), each, { concurrency: jobs })).flat();
    },
  };
}

const guardPorts = ({ target, gateway, ...ports }: CopyPorts, mayWrite: MayWrite): CopyPorts => ({
  ...ports,
  target: guardWrites(target, mayWrite),
  gateway:
    gateway &&
    (async (name, digest) => {
      await mayWrite();
      return gateway(name, digest);
    }),
});

/** The `untagged` manifests are in no list of the registry, so we ask for each of them by its digest. */
async function takeTargetSnapshot(
  target: Registry,
  name: RepositoryName,
  { untagged, ...options }: SnapshotOptions & Pick<Saved, "untagged">,
): Promise<Snapshot> {
  const found = await pMap(untagged, (digest) => headManifest(target, name, digest), { concurrency: options.jobs });
  const there = found.flatMap((head) => head?.digest ?? []);
  return withManifests(await takeSnapshot(target, name, options), there);
}

async function compareBoth({ source, target }: Both, name: RepositoryName, options: SnapshotOptions) {
  const [here, there] = await Promise.all([takeSnapshot(source, name, options), takeSnapshot(target, name, options)]);
  return differencesOf(name, [here, source.pod.id], [there, target.pod.id]);
}

/** Without `mayEmpty`, throws if only the target has repositories. The source may have lost its storage, and the move would delete the last copy. */
async function namesAtBoth(
  { source, target }: Both,
  group: Group,
  mayEmpty: boolean,
): Promise<readonly RepositoryName[]> {
  const [here, there] = await Promise.all([listRepositories(source, group), listRepositories(target, group)]);
  if (here.length === 0 && there.length > 0 && !mayEmpty)
    throw new CliFailure(
      `Pod "${source.pod.id}" lists no repository of "${group.prefix}", and Pod "${target.pod.id}" has ${counted(there.length, "repository")}; ` +
        `nothing was removed, because "${source.pod.id}" may have lost its storage; if the group is empty indeed, use --overwrite`,
    );
  return [...new Set([...here, ...there])].sort();
}

const memoryOf = ({ saved, save }: Progress) => ({
  savedOf: (name: RepositoryName): Saved => saved.get(name) ?? nothingSaved,
  save: async (name: RepositoryName, each: Saved): Promise<void> => {
    saved.set(name, each);
    await save(name, each);
  },
});

const nothingSaved: Saved = { fingerprint: null, untagged: [], listsReferrers: true };

const onlyInOne = (one: ReadonlySet<Digest>, other: ReadonlySet<Digest>): readonly Digest[] => [
  ...[...one].filter((digest) => !other.has(digest)),
  ...[...other].filter((digest) => !one.has(digest)),
];

const withManifests = (snapshot: Snapshot, more: readonly Digest[]): Snapshot => ({
  ...snapshot,
  manifests: new Set([...snapshot.manifests, ...more]),
});
