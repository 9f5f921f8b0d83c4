import { err, ok, type Result } from "../lib/result.ts";
import type { Digest } from "../oci/digest.ts";
import { type Prefix, prefixesOf, type RepositoryName } from "../oci/repository-name.ts";
import { type Directory, type DirectoryFailure, type Pod, parseStored } from "./directory.ts";
import { blockKey, directoryKey, routeKey } from "./keys.ts";
import type { PodId } from "./pod-id.ts";
import { assignmentRecord, blockRecord, directoryRecord } from "./records.ts";

export type Resolution = {
  /** Null: no assignment and no default. */
  readonly pod: Pod | null;
  /** The text of the block on this name or digest, if there is one. */
  readonly blocked: string | null;
};

/**
 * The Pod of a name: its longest assigned prefix on component boundaries, else the default. Routes, blocks and default of a name
 * unseen by this isolate come by one bulk read (20 + 20 + 2 keys); the Pod record is shared by all of a Pod's names.
 */
export async function resolvePod(
  directory: Directory,
  name: RepositoryName,
  digest: Digest | null,
): Promise<Result<Resolution, DirectoryFailure>> {
  const prefixes = prefixesOf(name);
  const blocks = [...(digest === null ? [] : [digest]), ...prefixes].map(blockKey);
  const read = await directory.readKv(keysOf(prefixes, blocks));
  if (!read.ok) return err({ reason: "directory", text: read.error });
  const text = (key: string) => read.value.get(key) ?? null;
  const id = assignedPod(prefixes, text);
  if (!id.ok) return id;
  const blocked = firstBlock(blocks, text);
  if (!blocked.ok) return blocked;
  if (id.value === null) return ok({ pod: null, blocked: blocked.value });
  const pod = await directory.pod(id.value);
  if (!pod.ok) return pod;
  if (pod.value === null)
    return err({
      reason: "directory",
      text: `an assignment of "${name}" names Pod "${id.value}", which has no record`,
    });
  return ok({ pod: pod.value, blocked: blocked.value });
}

const keysOf = (prefixes: readonly Prefix[], blocks: readonly string[]): readonly string[] => [
  directoryKey,
  ...prefixes.map(routeKey),
  ...blocks,
];

/**
 * What the resolution of many names will look up, by few bulk reads, for a client's names share their prefixes: one by one each would cost
 * a read. Of a failure the resolution itself tells.
 */
export async function lookAhead(directory: Directory, names: readonly RepositoryName[]): Promise<void> {
  const prefixes = [...new Set(names.flatMap(prefixesOf))];
  await directory.readKv(keysOf(prefixes, prefixes.map(blockKey)));
}

type Text = (key: string) => string | null;

function assignedPod(prefixes: readonly Prefix[], text: Text): Result<PodId | null, DirectoryFailure> {
  for (const key of prefixes.map(routeKey)) {
    const assignment = parseStored(key, text(key), assignmentRecord);
    if (!assignment.ok) return assignment;
    if (assignment.value !== null) return ok(assignment.value.pod);
  }
  const settings = parseStored(directoryKey, text(directoryKey), directoryRecord);
  return settings.ok ? ok(settings.value?.default ?? null) : settings;
}

function firstBlock(keys: readonly string[], text: Text): Result<string | null, DirectoryFailure> {
  for (const key of keys) {
    const block = parseStored(key, text(key), blockRecord);
    if (!block.ok) return block;
    if (block.value !== null) return ok(block.value.text);
  }
  return ok(null);
}
