/** Ends a group's move and deletes its manifests at the former Pod, if the new Pod has them (`podctl move --cleanup`). */
import pMap from "p-map";
import type { Digest } from "../../oci/digest.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import { counted, note } from "../output.ts";
import { type Group, isInGroup } from "./group.ts";
import { listRepositories } from "./lists.ts";
import type { OpenedGroup } from "./open-group.ts";
import { type Both, guardWrites, type MayWrite, type Registry } from "./registry.ts";
import { removeManifests } from "./remove.ts";
import { createCheck, endSettled } from "./run-move.ts";
import { createBudget, headManifest, takeSnapshot } from "./snapshot.ts";
import { waitAfterSince } from "./steps.ts";

/**
 * Ends the move, unless an earlier run has ended it, and deletes the group's manifests at the former Pod. Returns how many it has deleted. After the
 * end, other operators may move the group again, or assign a prefix below it. So the deletion checks the assignment every few seconds.
 */
export async function cleanUp(group: OpenedGroup, jobs: number): Promise<number> {
  const { ports, both, live } = group;
  refuseProbe(group);
  const scope = { ...both, group: group.group, jobs };
  let ended = live;
  if (live.record?.move !== undefined) {
    const missing = await missingManifests(scope);
    if (missing.length > 0) throw new CliFailure(missingText(group, missing));
    ended = await endSettled(ports, live);
  }
  await waitAfterSince(ports, ended, { afterMs: ports.waitMs, forWhat: "every edge knows it" });
  const { deleted, left } = await deleteManifests(scope, createCheck(ports, ended));
  note(`${ports.prefix}: ${counted(deleted, "manifest")} deleted at ${ports.way.from}`);
  if (left.length > 0) note(leftText(group, left));
  return deleted;
}

/** Refuses to delete the probe of the old Pod, because doctor and the edge check that Pod by its probe blob. */
function refuseProbe({ both, group }: OpenedGroup): void {
  const { id, probe } = both.source.pod;
  if (probe === undefined || !isInGroup(probe.repository, group)) return;
  throw new CliFailure(
    `the probe of Pod "${id}" is in "${probe.repository}", which --cleanup would delete; give the Pod another probe in the topology first`,
  );
}

const maxShown = 20;

const linesOf = (manifests: readonly string[]) => manifests.slice(0, maxShown).map((each) => `\n  ${each}`);

const missingText = ({ ports: { prefix, way } }: OpenedGroup, missing: readonly string[]): string =>
  [
    `"${prefix}" has ${counted(missing.length, "manifest")} at ${way.from} that ${way.to} does not have, so nothing was deleted; ` +
      `copy what is needed to ${way.to}, delete the rest at ${way.from}, and run the command again:`,
    ...linesOf(missing),
  ].join("");

const leftText = ({ ports: { prefix, way } }: OpenedGroup, left: readonly string[]): string =>
  [
    `${prefix}: ${counted(left.length, "manifest")} left at ${way.from}, because ${way.to} lacks them or an index that names them; ` +
      "if they are not needed, delete them there:",
    ...linesOf(left),
  ].join("");

/** `source` is the former Pod, and `target` is the new one. */
type Scope = Both & { readonly group: Group; readonly jobs: number };

async function missingManifests({ source, target, group, jobs }: Scope): Promise<readonly string[]> {
  const budget = createBudget();
  const each = async (name: RepositoryName) => {
    const { manifests } = await takeSnapshot(source, name, { jobs, budget });
    return (await missingAt(target, name, { manifests, jobs })).map((digest) => `${name}@${digest}`);
  };
  return (await pMap(await listRepositories(source, group), each, { concurrency: jobs })).flat();
}

async function missingAt(
  registry: Registry,
  name: RepositoryName,
  { manifests, jobs }: { readonly manifests: Iterable<Digest>; readonly jobs: number },
): Promise<readonly Digest[]> {
  const missing = await pMap(
    manifests,
    async (digest) => ((await headManifest(registry, name, digest)) === null ? [digest] : []),
    { concurrency: jobs },
  );
  return missing.flat();
}

type CleanedUp = { readonly deleted: number; readonly left: readonly string[] };

/**
 * Deletes at the former Pod the manifests that the new Pod also has. The registry removes their tags at once, and their blobs when it collects
 * garbage.
 */
async function deleteManifests({ source, target, group, jobs }: Scope, mayWrite: MayWrite): Promise<CleanedUp> {
  const guarded = guardWrites(source, mayWrite);
  const budget = createBudget();
  const each = async (name: RepositoryName): Promise<CleanedUp> => {
    await mayWrite();
    const { manifests, children } = await takeSnapshot(source, name, { jobs, budget });
    const left = new Set(await missingAt(target, name, { manifests, jobs }));
    // If an index stays, the manifests that it names stay, too. The loop also visits the digests that it adds to the set.
    for (const digest of left) for (const child of children.get(digest) ?? []) left.add(child);
    const removed = [...manifests].filter((digest) => !left.has(digest));
    await removeManifests(guarded, name, removed);
    return {
      deleted: removed.length,
      left: [...manifests].filter((digest) => left.has(digest)).map((digest) => `${name}@${digest}`),
    };
  };
  const cleaned = await pMap(await listRepositories(source, group), each, { concurrency: jobs });
  return {
    deleted: cleaned.reduce((sum, { deleted }) => sum + deleted, 0),
    left: cleaned.flatMap(({ left }) => left),
  };
}
