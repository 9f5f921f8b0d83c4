/** What applying a topology would change. */
import { createHash } from "node:crypto";
import { directoryKey, kindOf } from "../../directory/keys.ts";
import { type Change, changeOf, inWriteOrder } from "../../topology/difference.ts";
import type { HistoryIndex } from "../../topology/history.ts";
import { type Topology, topologyRecords, wantedRecords } from "../../topology/topology.ts";
import { startProgress } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { readUnfinished } from "./history.ts";
import { type DirectoryInKv, directoryInKv, readLive } from "./live-directory.ts";

export type Plan = {
  readonly directory: DirectoryInKv;
  /** Revision and fingerprint of all records in KV: equal for equal KV. */
  readonly state: string;
  /** In the order in which they are safe to write. */
  readonly changes: readonly Change[];
  /** Keys of blocks that the topology does not have. They stay, because only `podctl unblock` lifts a block. */
  readonly keptBlocks: readonly string[];
  /** The apply that began at this revision and was interrupted, if there is one. */
  readonly unfinished: HistoryIndex | null;
};

export const isEmpty = ({ changes, unfinished }: Plan): boolean => changes.length === 0 && unfinished === null;

export async function makePlan(kv: KvStore, topology: Topology): Promise<Plan> {
  const { changes, keptBlocks, directoryText, fingerprint } = await compare(kv, topology);
  const directory = directoryInKv(directoryText);
  return {
    directory,
    state: `${directory.record?.revision ?? 0}-${fingerprint.slice(0, 12)}`,
    changes: inWriteOrder(changes, ({ after }) => after === null),
    keptBlocks,
    unfinished: await readUnfinished(kv, directory.record),
  };
}

async function compare(kv: KvStore, topology: Topology) {
  const wanted = wantedRecords(topology);
  const changeFor = createChangeFor();
  const seen = new Set<string>();
  const changes: Change[] = [];
  const keptBlocks: string[] = [];
  const hash = createHash("sha256");
  let directoryText: string | null = null;
  const progress = startProgress("keys compared", wanted.size);
  for await (const page of readLive(kv)) {
    hash.update(page.map(({ key, text }) => `${key}\n${text}\n`).join(""));
    for (const { key, text } of page) {
      if (key === directoryKey) directoryText = text;
      const after = wanted.get(key);
      if (after !== null) seen.add(key);
      const change = changeFor(key, text, after);
      if (after === null && kindOf(key) === "block") keptBlocks.push(key);
      else if (change !== null) changes.push(change);
    }
    progress.advance(page.length);
  }
  progress.end();
  if (seen.size < wanted.size) {
    for (const [key, after] of topologyRecords(topology)) {
      if (!seen.has(key)) changes.push({ action: "add", key, before: null, after });
    }
  }
  return { changes, keptBlocks, directoryText, fingerprint: hash.digest("hex") };
}

/** `changeOf`, but without a second comparison of equal texts, because most assignments of a Pod have the same text. */
function createChangeFor(): (key: string, before: string, after: object | null) => Change | null {
  const equalTexts = new Map<object, string>();
  return (key, before, after) => {
    if (after !== null && equalTexts.get(after) === before) return null;
    const change = changeOf(key, before, after);
    if (after !== null && change === null) equalTexts.set(after, before);
    return change;
  };
}
