/** Records as they are written to KV: their text, and the metadata that repeats it. Pure. */
import { blocksKey, directoryKey, podPrefix, routePrefix } from "../directory/keys.ts";
import type { DirectoryRecord } from "../directory/records.ts";
import { utf8 } from "../lib/bytes.ts";
import { parseJson } from "../lib/json.ts";
import { MAX_PREFIX_COMPONENTS } from "../oci/repository-name.ts";

/** What the records of one write have in common. */
export type Stamp = {
  /** The directory's revision after the write; every Pod and assignment that the write changes carries it too. */
  readonly revision: number;
  readonly appliedAt: Date;
  /** Other operators who write at the same time see this name. */
  readonly appliedBy?: string;
};

const versionedPrefixes = [podPrefix, routePrefix, blocksKey];

export function recordText(key: string, record: object, { revision, appliedAt, appliedBy }: Stamp): string {
  const head = versionedPrefixes.some((prefix) => key.startsWith(prefix)) ? { v: 1, revision } : { v: 1 };
  if (key !== directoryKey) return JSON.stringify({ ...head, ...record });
  return JSON.stringify({ v: 1, revision, appliedAt: appliedAt.toISOString(), appliedBy, ...record });
}

/** KV's own bound. */
const maxMetadataBytes = 1_024;

/**
 * Returns the metadata of a value's key, which repeats the value so that a listing is enough to read the records. Undefined if the value does not fit,
 * or if `JSON.stringify` would spell it differently.
 */
export function metadataOf(value: string): unknown {
  if (utf8(value).byteLength > maxMetadataBytes) return undefined;
  const json = parseJson(value);
  return JSON.stringify(json) === value ? json : undefined;
}

/** What a directory record says, without when and by whom it was written. */
export type DirectoryContent = Pick<DirectoryRecord, "pods" | "default" | "credentials" | "depth">;

/** The directory record while a write is under way. */
export type DirectorySteps = {
  /**
   * Adds the new Pods, because a bundle may name a Pod only once the directory record does. Has the new depth if it is larger, because only then are
   * longer prefixes looked up. Null if there is neither.
   */
  readonly widened: string | null;
  /**
   * Has all that the write changes, because the default may change only once all assignments are written. Only a smaller depth is left to the last text
   * of the write. Null if nothing changes.
   */
  readonly settled: string | null;
};

/** Both texts keep the revision and time of `from`, because a revision is complete only when the directory record names it. */
export function directorySteps(from: DirectoryRecord | null, to: DirectoryContent): DirectorySteps {
  const stamp = { v: 1, revision: from?.revision ?? 0, appliedAt: from?.appliedAt, appliedBy: from?.appliedBy };
  const textOf = (content: DirectoryContent) => JSON.stringify({ ...stamp, ...contentOf(content) });
  const known = from?.pods ?? [];
  const added = (to.pods ?? []).filter((id) => !known.includes(id));
  const before: DirectoryContent = from ?? { credentials: "own" };
  const depth = deeper(before, to);
  const isWider = added.length > 0 || depth !== before.depth;
  const settled = textOf({ ...to, depth });
  return {
    widened: isWider ? textOf({ ...before, depth, pods: [...known, ...added] }) : null,
    settled: from !== null && settled === textOf(from) ? null : settled,
  };
}

type Depth = Pick<DirectoryRecord, "depth">;

/** Returns the larger of two depths. A record without a depth has the largest. */
const deeper = ({ depth: one }: Depth, { depth: other }: Depth): Depth["depth"] =>
  one === undefined || other === undefined ? undefined : Math.max(one, other);

/** Whether the edge looks up an assigned prefix of so many components. */
export const isWithin = (components: number, { depth = MAX_PREFIX_COMPONENTS }: Depth): boolean => components <= depth;

export const contentOf = ({ pods, default: defaultPod, credentials, depth }: DirectoryContent): DirectoryContent => ({
  pods,
  default: defaultPod,
  credentials,
  depth,
});
