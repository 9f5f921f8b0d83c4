import { ok, type Result } from "../lib/result.ts";
import type { Digest } from "../oci/digest.ts";
import { prefixesOf, type RepositoryName } from "../oci/repository-name.ts";
import type { DirectoryFailure } from "../refusal.ts";
import { type Directory, directoryFailure, type Pod, parseStored } from "./directory.ts";
import { blockKey, directoryKey, routeKey } from "./keys.ts";
import type { KvValues, ReadOptions } from "./kv.ts";
import type { PodId } from "./pod-id.ts";
import { assignmentRecord, blockRecord, directoryRecord } from "./records.ts";

export type Resolution = {
  /** Null: the name has no assignment, and there is no default Pod. */
  readonly pod: Pod | null;
  /** The operator's text, if this name or digest is blocked. */
  readonly blocked: string | null;
  /** Why KV did not answer, if any of this rests on older values. */
  readonly stale: string | null;
};

export type ResolveQuestion = {
  readonly name: RepositoryName;
  /** The digest that the request is about, because a digest can be blocked too. */
  readonly digest?: Digest | null;
} & LookupOptions;

/** How old an assignment may be, by default as old as this isolate's cache lets it be; and who chose the name. */
export type LookupOptions = Pick<ReadOptions, "assignmentMaxAgeMs" | "chosenBy">;

/**
 * Isolates remember assignments for longer than this, and each from another moment. The token endpoint, and a second look before a refusal, use this
 * age, so that a name that moved is served by its new Pod at once.
 */
export const recentMs = 2_000;

/**
 * Resolves a name to its Pod: by the longest assigned prefix on component boundaries, else the default Pod. For a name that this isolate has not
 * seen, assignments, blocks and default come by one bulk read (20 + 20 + 2 keys); the Pod record is shared by all of a Pod's names.
 */
export async function resolvePod(
  directory: Directory,
  { name, digest = null, ...options }: ResolveQuestion,
): Promise<Result<Resolution, DirectoryFailure>> {
  const prefixes = prefixesOf(name);
  const blocks = [...(digest === null ? [] : [digest]), ...prefixes].map(blockKey);
  const routes = prefixes.map(routeKey);
  const read = await directory.readKv([directoryKey, ...routes, ...blocks], options);
  if (!read.ok) return directoryFailure(read.error);
  const { textOf, stale } = read.value;
  const id = assignedPod(routes, podsOfKeys(textOf));
  if (!id.ok) return id;
  const blocked = firstBlock(blocks, textOf);
  if (!blocked.ok) return blocked;
  if (id.value === null) return ok({ pod: null, blocked: blocked.value, stale });
  const found = await directory.findPod(id.value);
  if (!found.ok) return found;
  const { pod } = found.value;
  if (pod === null) {
    return directoryFailure(`an assignment of "${name}" names Pod "${id.value}", which has no record`);
  }
  return ok({ pod, blocked: blocked.value, stale: stale ?? found.value.stale });
}

export type NameBounds = Pick<ReadOptions, "maxNewKeys"> & {
  /** How many keys the names may have in all, however many of them this isolate knows. */
  readonly maxKeys?: number;
};

/**
 * The Pods that many names are assigned to, by few bulk reads, because one client's names share their prefixes and would cost a read each. Blocks are not
 * looked at. Names whose keys are beyond the bounds are not in the answer.
 */
export async function assignedPods(
  directory: Directory,
  names: readonly RepositoryName[],
  { maxKeys = Number.POSITIVE_INFINITY, ...options }: LookupOptions & NameBounds,
): Promise<Result<ReadonlyMap<RepositoryName, PodId | null>, DirectoryFailure>> {
  const keysOf = new Map<RepositoryName, readonly string[]>();
  const keys = new Set([directoryKey]);
  for (const name of names) {
    if (keys.size > maxKeys) break;
    const own = prefixesOf(name).map(routeKey);
    keysOf.set(name, own);
    for (const key of own) keys.add(key);
  }
  const read = await directory.readKv([...keys], options);
  if (!read.ok) return directoryFailure(read.error);
  const { textOf, unread } = read.value;
  const podOfKey = podsOfKeys(textOf);
  const assigned = new Map<RepositoryName, PodId | null>();
  for (const [name, own] of keysOf) {
    if (own.some((key) => unread.has(key))) continue;
    const pod = assignedPod(own, podOfKey);
    if (!pod.ok) return pod;
    assigned.set(name, pod.value);
  }
  return ok(assigned);
}

type TextOf = KvValues["textOf"];

type PodOfKey = (key: string) => Result<PodId | null, DirectoryFailure>;

function assignedPod(routes: readonly string[], podOfKey: PodOfKey): Result<PodId | null, DirectoryFailure> {
  for (const key of routes) {
    const pod = podOfKey(key);
    if (!pod.ok || pod.value !== null) return pod;
  }
  return podOfKey(directoryKey);
}

/** The Pod that an assignment names, or that the directory names for all other names. Each record is parsed once, because names share them. */
function podsOfKeys(textOf: TextOf): PodOfKey {
  const known = new Map<string, Result<PodId | null, DirectoryFailure>>();
  return (key) => {
    const pod = known.get(key) ?? parsePodOf(key, textOf(key));
    known.set(key, pod);
    return pod;
  };
}

function parsePodOf(key: string, text: string | null): Result<PodId | null, DirectoryFailure> {
  if (key === directoryKey) {
    const record = parseStored(key, text, directoryRecord);
    return record.ok ? ok(record.value?.default ?? null) : record;
  }
  const assignment = parseStored(key, text, assignmentRecord);
  return assignment.ok ? ok(assignment.value?.pod ?? null) : assignment;
}

function firstBlock(keys: readonly string[], textOf: TextOf): Result<string | null, DirectoryFailure> {
  for (const key of keys) {
    const block = parseStored(key, textOf(key), blockRecord);
    if (!block.ok) return block;
    if (block.value !== null) return ok(block.value.text);
  }
  return ok(null);
}
