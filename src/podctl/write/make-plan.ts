/** What applying a topology would change. */

import { type Change, compareWith } from "../../topology/difference.ts";
import type { HistoryIndex } from "../../topology/history.ts";
import { type Topology, wantedRecords } from "../../topology/topology.ts";
import { startProgress } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { readUnfinished } from "./history.ts";
import { type LiveDirectory, readLive } from "./live-directory.ts";

export type Plan = {
  readonly live: LiveDirectory;
  readonly changes: readonly Change[];
  readonly keptBlocks: readonly string[];
  /** Of an apply that began on this very revision and did not end. */
  readonly unfinished: HistoryIndex | null;
};

export const isEmpty = ({ changes, unfinished }: Plan): boolean => changes.length === 0 && unfinished === null;

export async function makePlan(kv: KvStore, topology: Topology): Promise<Plan> {
  const wanted = wantedRecords(topology);
  const progress = startProgress("keys compared", wanted.size);
  const comparison = compareWith(wanted);
  const live = await readLive(kv, comparison.see, progress.advance);
  progress.end();
  return { live, unfinished: await readUnfinished(kv, live.settings), ...comparison.end() };
}
