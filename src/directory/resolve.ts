import { ok, type Result } from "../lib/result.ts";
import type { Digest } from "../oci/digest.ts";
import { MAX_PREFIX_COMPONENTS, prefixesOf, type RepositoryName } from "../oci/repository-name.ts";
import type { DirectoryFailure } from "../refusal.ts";
import { type Renamed, renamed } from "./aliases.ts";
import { type Directory, directoryFailure, type Pod } from "./directory.ts";
import { blocksKey, directoryKey, routeKey } from "./keys.ts";
import type { KvValues, ReadOptions } from "./kv.ts";
import { type Moving, servedBy } from "./moves.ts";
import { lastDirectory, parseOnce } from "./parsed-records.ts";
import type { PodId } from "./pod-id.ts";
import {
  type AssignmentRecord,
  assignmentRecord,
  blocksRecord,
  type DirectoryRecord,
  directoryRecord,
} from "./records.ts";

export type Resolution = {
  /** Null if the request uses the repository's current name. `pod` and `assignment` always belong to the current name. */
  readonly renamed: Renamed | null;
  /** Null: the name has no assignment, and there is no default Pod. */
  readonly pod: Pod | null;
  readonly assignment: AssignmentRecord | null;
  /** During a move of the name's group, `pod` is the Pod that serves the group in this phase. */
  readonly moving: Moving | null;
  /** The operator's text, if this name or digest is blocked. */
  readonly blocked: string | null;
  /** Null if KV works. Otherwise some of these values may be out of date, and this text says what is wrong with KV. */
  readonly stale: string | null;
};

export type ResolveQuestion = {
  readonly name: RepositoryName;
  /** The request's digest, because digests can be blocked, and not only names. */
  readonly digest?: Digest | null;
} & LookupOptions;

export type LookupOptions = Pick<
  ReadOptions,
  "assignmentMaxAgeMs" | "directoryMaxAgeMs" | "mustBeCurrent" | "chosenBy"
>;

/**
 * Token requests, and refusals of names that may have moved, need an assignment that was read at most this long ago. Otherwise, for up to 30 s after
 * a move, the edge could ask the old Pod for tokens and refuse the new Pod's.
 */
export const recentMs = 2_000;

/**
 * Resolves a name to the Pod of its longest assigned prefix, or else to the default Pod. A prefix consists of whole components: `acme` is a prefix of
 * `acme/app`, and not of `acme2/app`.
 */
export async function resolvePod(
  directory: Directory,
  question: ResolveQuestion,
): Promise<Result<Resolution, DirectoryFailure>> {
  const { name, digest = null } = question;
  const found = await findAssignments(directory, [name], question);
  if (!found.ok) return found;
  const assigned = assignmentOf(directory, name, found.value);
  if (!assigned.ok) return assigned;
  const { assignment, id, moving, renamed } = assigned.value;
  await keepForIssuer(directory, found.value, [id, moving?.other]);
  const { textOf, stale } = found.value;
  const names = renamed === null ? [name] : [name, renamed.to];
  const blocked = blockOf(directory, { names, digest }, textOf(blocksKey));
  if (!blocked.ok) return blocked;
  if (id === null) return ok({ pod: null, renamed, assignment, moving, blocked: blocked.value, stale });
  const owner = await directory.findPod(id, question);
  if (!owner.ok) return owner;
  const { pod } = owner.value;
  if (pod === null) {
    return directoryFailure(`an assignment of "${name}" names Pod "${id}", which has no record`);
  }
  return ok({ pod, renamed, assignment, moving, blocked: blocked.value, stale: stale ?? owner.value.stale });
}

/**
 * Keeps a name's keys in the isolate's memory if the name belongs to a Pod that issued the request's token. Other names are not kept: the tokens of a
 * hostile Pod may name anything, and these names could displace names that users depend on. The keys have just been read, so this call reads nothing
 * from KV.
 */
async function keepForIssuer(
  { readKv }: Directory,
  { chosenBy, stale, keysOf }: Found,
  pods: readonly (PodId | null | undefined)[],
): Promise<void> {
  if (stale !== null || chosenBy === null || typeof chosenBy === "string" || !("issuers" in chosenBy)) return;
  const owner = chosenBy.issuers.find((issuer) => pods.includes(issuer));
  if (owner !== undefined) await readKv([...keysOf.values()].flat(), { chosenBy: { owner } });
}

export type NameBounds = Pick<ReadOptions, "maxNewKeys" | "maxReadKeys"> & {
  /**
   * How many keys all names together may need, in memory or not. The first name may need more than `maxKeys`, so that a catalog can get past this
   * name.
   */
  readonly maxKeys?: number;
};

/** To which Pod a name belongs, and by which assignment. `id` is null if the name has neither an assignment nor a default Pod. */
type Assigned = Pick<Resolution, "renamed" | "assignment" | "moving"> & { readonly id: PodId | null };

/** Finds the Pods of many names by few bulk reads, without a check for blocks. A name is left out if `options` forbids to read one of its keys. */
export async function assignedPods(
  directory: Directory,
  names: readonly RepositoryName[],
  options: LookupOptions & NameBounds = {},
): Promise<Result<ReadonlyMap<RepositoryName, Assigned>, DirectoryFailure>> {
  const found = await findAssignments(directory, names, options);
  if (!found.ok) return found;
  const { keysOf, unread } = found.value;
  const assigned = new Map<RepositoryName, Assigned>();
  for (const [name, keys] of keysOf) {
    if (keys.some((key) => unread.has(key))) continue;
    const own = assignmentOf(directory, name, found.value);
    if (!own.ok) return own;
    assigned.set(name, own.value);
  }
  return ok(assigned);
}

type Found = KvValues & {
  readonly record: DirectoryRecord | null;
  /** For each name, as far as `maxKeys` allows: the keys where its assignment may be, longest prefix first. */
  readonly keysOf: ReadonlyMap<RepositoryName, readonly string[]>;
};

/** What decides which keys are read for a name. */
type Known = Pick<DirectoryRecord, "depth" | "aliases"> | null;

const depthOf = (record: Known): number => record?.depth ?? MAX_PREFIX_COMPONENTS;

/**
 * Reads directory, blocks and assignments at once. The directory record decides which assignments are needed. Instead of waiting for it, we use the
 * record that this isolate saw last, if any. If the new record needs other assignments, we read again.
 */
async function findAssignments(
  directory: Directory,
  names: readonly RepositoryName[],
  options: LookupOptions & NameBounds,
): Promise<Result<Found, DirectoryFailure>> {
  const known = lastDirectory(directory.parsedRecords);
  const found = await readAssignments(directory, { names, known }, options);
  if (!found.ok || found.value.record === known) return found;
  const { record } = found.value;
  const isRead = (name: RepositoryName) => renamed(record, name)?.to === renamed(known, name)?.to;
  return depthOf(record) <= depthOf(known) && names.every(isRead)
    ? found
    : readAssignments(directory, { names, known: record }, options);
}

async function readAssignments(
  { readKv, parsedRecords }: Directory,
  { names, known }: { readonly names: readonly RepositoryName[]; readonly known: Known },
  bounds: LookupOptions & NameBounds,
): Promise<Result<Found, DirectoryFailure>> {
  const { maxKeys = Number.POSITIVE_INFINITY } = bounds;
  const keysOf = new Map<RepositoryName, readonly string[]>();
  const keys = new Set<string>();
  for (const name of names) {
    const own = prefixesOf(renamed(known, name)?.to ?? name, depthOf(known)).map(routeKey);
    if (keys.size > 0 && keys.size + own.length > maxKeys) break;
    keysOf.set(name, own);
    for (const key of own) keys.add(key);
  }
  const read = await readKv([directoryKey, blocksKey, ...keys], bounds);
  if (!read.ok) return directoryFailure(read.error);
  const stored = { text: read.value.textOf(directoryKey), schema: directoryRecord };
  const record = parseOnce(parsedRecords.directory, directoryKey, stored);
  return record.ok ? ok({ ...read.value, record: record.value, keysOf }) : record;
}

function assignmentOf(
  { parsedRecords, now }: Directory,
  name: RepositoryName,
  { record, textOf }: Found,
): Result<Assigned, DirectoryFailure> {
  const alias = renamed(record, name);
  for (const prefix of prefixesOf(alias?.to ?? name, depthOf(record))) {
    const key = routeKey(prefix);
    const stored = { text: textOf(key), schema: assignmentRecord };
    const assignment = parseOnce(parsedRecords.assignments, key, stored);
    if (!assignment.ok) return assignment;
    const { value } = assignment;
    if (value !== null) return ok({ renamed: alias, assignment: value, ...servedBy(prefix, value, now()) });
  }
  return ok({ renamed: alias, assignment: null, id: record?.default ?? null, moving: null });
}

/**
 * Returns the text of the block of the digest, or else of the longest blocked prefix of a name. We look at all prefixes of the name, because a
 * blocked prefix may be longer than any assigned prefix.
 */
function blockOf(
  { parsedRecords }: Directory,
  { names, digest }: { readonly names: readonly RepositoryName[]; readonly digest: Digest | null },
  text: string | null,
): Result<string | null, DirectoryFailure> {
  const record = parseOnce(parsedRecords.blocks, blocksKey, { text, schema: blocksRecord });
  if (!record.ok) return record;
  const blocks = record.value?.blocks;
  if (blocks === undefined || blocks.size === 0) return ok(null);
  for (const blocked of [...(digest === null ? [] : [digest]), ...names.flatMap((name) => prefixesOf(name))]) {
    const why = blocks.get(blocked);
    if (why !== undefined) return ok(why);
  }
  return ok(null);
}
