/** Makes the text of each record in KV, and the metadata of its key, which repeats the record. Pure. */
import { blocksKey, directoryKey, podPrefix, routePrefix } from "../directory/keys.ts";
import type { DirectoryRecord } from "../directory/records.ts";
import { utf8 } from "../lib/bytes.ts";
import { parseJson } from "../lib/json.ts";
import { MAX_PREFIX_COMPONENTS } from "../oci/repository-name.ts";

/** The members that all records of one write have in common. */
type Stamp = {
  /** The directory's revision after the write. Every Pod and every assignment that the write changes also has this number. */
  readonly revision: number;
  readonly appliedAt: Date;
  /** Who makes the write. Operators who write at the same time see this name. */
  readonly appliedBy?: string;
};

const versionedPrefixes = [podPrefix, routePrefix, blocksKey];

export function recordText(key: string, record: object, { revision, appliedAt, appliedBy }: Stamp): string {
  const head = versionedPrefixes.some((prefix) => key.startsWith(prefix)) ? { v: 1, revision } : { v: 1 };
  if (key !== directoryKey) return JSON.stringify({ ...head, ...record });
  return JSON.stringify({ v: 1, revision, appliedAt: appliedAt.toISOString(), appliedBy, ...record });
}

/** KV's own limit. */
const maxMetadataBytes = 1_024;

/**
 * Returns a record as its key's metadata, so that podctl can read the records from a listing of the keys. Undefined if the record is too long for
 * metadata, or if `JSON.stringify` would not give its exact text again.
 */
export function metadataOf(value: string): unknown {
  if (utf8(value).byteLength > maxMetadataBytes) return undefined;
  const json = parseJson(value);
  return JSON.stringify(json) === value ? json : undefined;
}

/** The content of a directory record, without when and by whom it was written. */
export type DirectoryContent = Pick<
  DirectoryRecord,
  "pods" | "default" | "credentials" | "aliases" | "sharedRegistries" | "depth"
>;

/** The texts of the directory record while a write is under way. */
export type DirectorySteps = {
  /**
   * This text is written before the new assignments, and adds what the edge must know when it finds one. Null if there is nothing to add.
   * - New Pods: a bundle may name a Pod only after the directory record names it.
   * - A larger depth: the edge looks up longer prefixes only if the record allows them.
   * - Pods that now share a registry: the edge must know this before it sends a token to one of them.
   */
  readonly widened: string | null;
  /**
   * This text is written after the new assignments and before old ones are deleted. Null if nothing changes.
   * - It has the new default. The new default changes no group's Pod at this moment: a group that leaves the default Pod already has its new
   *   assignment, and a group that goes to the default Pod still has its old one.
   * - It has all other changes, except a smaller depth, because the edge must find old assignments with longer prefixes until they are deleted.
   */
  readonly settled: string | null;
  /** Whether the names without an assignment get another Pod than before. */
  readonly changesDefault: boolean;
};

/**
 * Returns the texts that the directory record has during a write. Each text keeps the revision and time of `from`, because a new revision would say
 * that the write is complete.
 */
export function directorySteps(from: DirectoryRecord | null, to: DirectoryContent): DirectorySteps {
  const stamp = { v: 1, revision: from?.revision ?? 0, appliedAt: from?.appliedAt, appliedBy: from?.appliedBy };
  const textOf = (content: DirectoryContent) => JSON.stringify({ ...stamp, ...contentOf(content) });
  const known = from?.pods ?? [];
  const added = (to.pods ?? []).filter((id) => !known.includes(id));
  const before: DirectoryContent = from ?? { credentials: "own" };
  const depth = deeper(before, to);
  const sharedRegistries = joined(before.sharedRegistries, to.sharedRegistries);
  const isWider =
    added.length > 0 || depth !== before.depth || sharedRegistries?.length !== before.sharedRegistries?.length;
  const settled = textOf({ ...to, depth });
  return {
    widened: isWider ? textOf({ ...before, depth, sharedRegistries, pods: [...known, ...added] }) : null,
    settled: from !== null && settled === textOf(from) ? null : settled,
    changesDefault: from !== null && from.default !== to.default,
  };
}

type SharedRegistries = DirectoryRecord["sharedRegistries"];

/** An entry names the Pods of one registry. */
function joined(one: SharedRegistries, other: SharedRegistries): SharedRegistries {
  const known = new Set(one?.map((pods) => pods.join()));
  const added = (other ?? []).filter((pods) => !known.has(pods.join()));
  return added.length === 0 ? one : [...(one ?? []), ...added];
}

type Depth = Pick<DirectoryRecord, "depth">;

/** A missing depth is the largest, because a record without depth allows any prefix. */
const deeper = ({ depth: one }: Depth, { depth: other }: Depth): Depth["depth"] =>
  one === undefined || other === undefined ? undefined : Math.max(one, other);

/** Whether the edge looks up prefixes of this many components. */
export const isWithin = (components: number, { depth = MAX_PREFIX_COMPONENTS }: Depth): boolean => components <= depth;

export const contentOf = (directory: DirectoryContent): DirectoryContent => {
  const { pods, default: defaultPod, credentials, aliases, sharedRegistries, depth } = directory;
  const optional = { ...(aliases && { aliases }), ...(sharedRegistries && { sharedRegistries }) };
  return { pods, default: defaultPod, credentials, ...optional, depth };
};
