import { createHash } from "node:crypto";
import { blocksKey, directoryKey, kindOf, nameIn } from "../../directory/keys.ts";
import { parseJsonObject } from "../../lib/json.ts";
import { componentsOf, type Prefix } from "../../oci/repository-name.ts";
import { blocksToWrite, parseBlocks, unionOf } from "../../topology/blocks.ts";
import { type Change, changeOf, inWriteOrder } from "../../topology/difference.ts";
import { isWithin } from "../../topology/record-text.ts";
import { type Topology, topologyRecords, wantedRecords } from "../../topology/topology.ts";
import { orFail } from "../failure.ts";
import { startProgress } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { readUnfinished } from "./history.ts";
import type { HistoryIndex } from "./history-records.ts";
import { deepEnoughFor, type Kept, keptAbove, refuseWithoutPods } from "./kept-assignments.ts";
import { type DirectoryInKv, directoryInKv, readLive, refuseNewer } from "./live-directory.ts";
import { assignmentOf, type Holder, holderIn } from "./lost-conditions.ts";
import { belowMoving, describeMoving, movingIn } from "./moving.ts";

export type Plan = {
  readonly directory: DirectoryInKv;
  /** The directory's revision and a fingerprint of all records in KV. Equal records give an equal state. */
  readonly state: string;
  /** The changes, in the order in which they are safe to write. */
  readonly changes: readonly Change[];
  /** The blocked prefixes and digests that the topology does not have. They stay, because only `podctl unblock` lifts a block. */
  readonly keptBlocks: readonly string[];
  /**
   * Why the blocks in KV cannot be read, or null if they can. If they cannot, the plan changes no blocks: writing only the topology's blocks would
   * lift those that only KV has.
   */
  readonly unreadBlocks: string | null;
  /**
   * Keys of assignments in KV that the edge does not find now, because their prefixes are deeper than the directory's depth. The changes of the plan
   * correct this.
   */
  readonly unfound: readonly string[];
  /** For the operator: one text for each assignment that stays as it is, whatever the topology says, because a move depends on it. */
  readonly moving: readonly string[];
  /** Finds what holds for an assignment's names if the assignment is removed: the topology's next shorter assignment, or its default Pod. */
  readonly holder: Holder;
  /** An earlier write or rollback that is still running or was interrupted. Null if there is none. */
  readonly unfinished: HistoryIndex | null;
};

export const isEmpty = ({ changes, unfinished, unreadBlocks }: Plan): boolean =>
  changes.length === 0 && unfinished === null && unreadBlocks === null;

export async function makePlan(kv: KvStore, topology: Topology): Promise<Plan> {
  const { changes, blocks, unfound, moving, directoryText, fingerprint } = await compare(kv, topology);
  const directory = directoryInKv(directoryText);
  return {
    directory,
    state: `${directory.record?.revision ?? 0}-${fingerprint.slice(0, 12)}`,
    changes: inWriteOrder(changes, ({ after }) => after === null),
    keptBlocks: blocks.kept,
    unreadBlocks: blocks.unread,
    unfound,
    moving,
    holder: holderIn(wantedRecords(topology).get, topology.default),
    unfinished: await readUnfinished(kv, directory.record),
  };
}

async function compare(kv: KvStore, topology: Topology) {
  const wanted = wantedRecords(topology);
  const changeFor = createChangeFor();
  /** The wanted keys that KV has. We make a set of them only if KV lacks a wanted key, because a set of a million keys takes a second. */
  const found: string[] = [];
  const changes: Change[] = [];
  const unfound: string[] = [];
  const kept: Kept[] = [];
  let blocks = mergeBlocks(null, topology);
  const hash = createHash("sha256");
  let directoryText: string | null = null;
  let isUnfound = createUnfound(null);
  const progress = startProgress("keys compared", wanted.size);
  for await (const page of readLive(kv)) {
    hash.update(page.map(({ key, text }) => `${key}\n${text}\n`).join(""));
    for (const { key, text } of page) {
      refuseNewer(key, text);
      if (key === directoryKey) {
        directoryText = text;
        isUnfound = createUnfound(text);
        found.push(key);
        continue;
      }
      if (key === blocksKey) blocks = mergeBlocks(text, topology);
      if (isUnfound(key)) unfound.push(key);
      const asked = wanted.get(key);
      if (asked !== null && key !== found.at(-1)) found.push(key);
      if (key === blocksKey && blocks.unread !== null) continue;
      const moved = movingIn(key, text);
      if (moved !== null) {
        kept.push({ key, record: moved, why: describeMoving(key, moved) });
        continue;
      }
      const change = changeFor(key, text, key === blocksKey ? blocks.after : asked);
      const above = change?.action === "delete" ? keptAbove(key, kept) : undefined;
      if (above !== undefined)
        kept.push({ key, record: assignmentOf(parseJsonObject(text)), why: belowMoving(key, above) });
      else if (change !== null) changes.push(change);
    }
    progress.advance(page.length);
  }
  progress.end();
  if (found.length < wanted.size) {
    const seen = new Set(found);
    for (const [key, after] of topologyRecords(topology)) {
      if (seen.has(key)) continue;
      const above = keptAbove(key, kept);
      if (above === undefined) changes.push({ action: "add", key, before: null, after });
      else kept.push({ key, record: null, why: belowMoving(key, above) });
    }
  }
  refuseWithoutPods(kept, topology);
  const moving = kept.map(({ why }) => why);
  if (directoryText !== null) {
    const change = changeOf(directoryKey, directoryText, deepEnoughFor(kept, wanted.get(directoryKey) ?? {}));
    if (change !== null) changes.unshift(change);
  }
  return { changes, blocks, unfound, moving, directoryText, fingerprint: hash.digest("hex") };
}

type MergedBlocks = {
  readonly after: object | null;
  readonly kept: readonly string[];
  readonly unread: string | null;
};

function mergeBlocks(text: string | null, topology: Topology): MergedBlocks {
  const live = parseBlocks(text);
  const all = unionOf(live.ok ? live.value : new Map(), topology.blocks);
  const after = orFail(blocksToWrite(all));
  const inFile: ReadonlyMap<string, string> = topology.blocks;
  return {
    after,
    kept: [...all.keys()].filter((name) => !inFile.has(name)),
    unread: live.ok ? null : live.error,
  };
}

/**
 * Returns a function that says whether the prefix of an assignment is too long for the edge to find it. KV lists keys in order, so the directory
 * record, which limits the length, is read before the first assignment.
 */
function createUnfound(directoryText: string | null): (key: string) => boolean {
  const directory = directoryInKv(directoryText).record ?? {};
  return (key) => {
    if (kindOf(key) !== "route") return false;
    const components = componentsOf(nameIn(key) as Prefix);
    return components > 1 && !isWithin(components, directory);
  };
}

/** Returns a `changeOf` that remembers which text equals a wanted record. Most assignments of a Pod have the same text, which is then parsed once. */
function createChangeFor(): (key: string, before: string, after: object | null) => Change | null {
  const equalTexts = new Map<object, string>();
  return (key, before, after) => {
    if (after !== null && equalTexts.get(after) === before) return null;
    const change = changeOf(key, before, after);
    if (after !== null && change === null) equalTexts.set(after, before);
    return change;
  };
}
