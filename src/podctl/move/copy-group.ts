/** Copies a group from one Pod to another, round by round, and compares both. */
import pMap from "p-map";
import type { Digest } from "../../oci/digest.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import type { CopyWays } from "./copy-blob.ts";
import { type Copied, type CopyPorts, nothingCopied } from "./copy-manifest.ts";
import { copyRepository } from "./copy-repository.ts";
import { differencesOf } from "./differences.ts";
import { createLimit } from "./limit.ts";
import { type Group, listRepositories } from "./lists.ts";
import type { Registry } from "./registry.ts";
import { fingerprintOf, type Snapshot, takeSnapshot } from "./snapshot.ts";

/** What a move remembers of each repository between rounds, and between runs. */
export type Progress = {
  /** The fingerprint of what the source held when the repository was last copied whole. */
  readonly saved: Map<RepositoryName, string>;
  readonly save: (name: RepositoryName, fingerprint: string) => Promise<void>;
  readonly onRepository?: (done: number, all: number) => void;
};

export type Round = {
  /** How many manifests and tags were copied or removed. */
  readonly changes: number;
  readonly problems: readonly string[];
};

export type GroupCopy = {
  readonly copied: Copied;
  /** Copies what changed since the last round. Calls `mayCopy` before each repository, which throws if the move is no longer this run's. */
  readonly round: (mayCopy: () => Promise<void>) => Promise<Round>;
  /** Compares every tag, manifest and list of referrers of the target with those of the source, both as they are now. */
  readonly compare: () => Promise<readonly string[]>;
};

type Options = CopyWays & { readonly group: Group; readonly jobs: number; readonly progress: Progress };

export function createGroupCopy({ source, target, gateway, group, jobs, progress }: Options): GroupCopy {
  const copied = nothingCopied();
  /** What the target holds, as far as this run knows. We do not read it again between rounds, because no one else writes to the group there. */
  const held = new Map<RepositoryName, Snapshot>();
  /** What the source held in the last round. */
  const seen = new Map<RepositoryName, Snapshot>();
  let problems: string[] = [];
  const ports: CopyPorts = {
    ...{ source, target, gateway, jobs, copied, homes: new Map<Digest, RepositoryName>(), limit: createLimit(jobs) },
    complain: (problem) => problems.push(problem),
  };
  const copyOne = async (name: RepositoryName): Promise<number> => {
    const known = held.get(name);
    const now = await takeSnapshot(source, name, { jobs, known });
    const fingerprint = fingerprintOf(now);
    seen.set(name, now);
    // An earlier run has copied the repository in exactly this state, so the target holds all of it already.
    if (known === undefined && progress.saved.get(name) === fingerprint) {
      held.set(name, now);
      return 0;
    }
    const before = known ?? (await takeSnapshot(target, name, { jobs, known: now }));
    held.delete(name);
    const { changes, isWhole } = await copyRepository(name, [now, before], ports);
    if (!isWhole) return changes;
    held.set(name, heldAfter(now, before));
    await progress.save(name, fingerprint);
    return changes;
  };
  const namesAtBoth = async () => {
    const names = await Promise.all([source, target].map((registry) => listRepositories(registry, group)));
    return [...new Set(names.flat())].sort();
  };
  return {
    copied,
    round: async (mayCopy) => {
      problems = [];
      const names = await namesAtBoth();
      let done = 0;
      const each = async (name: RepositoryName) => {
        await mayCopy();
        const changes = await copyOne(name);
        done += 1;
        progress.onRepository?.(done, names.length);
        return changes;
      };
      const changes = await pMap(names, each, { concurrency: jobs });
      return { changes: changes.reduce((sum, some) => sum + some, 0), problems };
    },
    compare: async () => {
      const each = async (name: RepositoryName) => {
        // The source is read again, because a push that was under way may have ended there since the last round.
        const snapshotOf = (registry: Registry) => takeSnapshot(registry, name, { jobs, known: seen.get(name) });
        const [here, there] = await Promise.all([snapshotOf(source), snapshotOf(target)]);
        return differencesOf(name, [here, source.pod.id], [there, target.pod.id]);
      };
      return (await pMap(await namesAtBoth(), each, { concurrency: jobs })).flat();
    },
  };
}

/**
 * Returns what the target holds after a copy: all that the source held. Only `listsReferrers` is the target's own value, because it depends on the
 * target's registry.
 */
const heldAfter = (source: Snapshot, target: Snapshot): Snapshot => ({
  ...source,
  listsReferrers: target.listsReferrers,
});
