/** What applying a topology would change. */

import type { HistoryIndex } from "../directory/history.ts";
import { type Change, compareWith } from "../directory/plan.ts";
import { type Topology, wantedRecords } from "../directory/topology.ts";
import { readUnfinished } from "./history.ts";
import type { KvStore } from "./kv-store.ts";
import { type LiveDirectory, readLive } from "./live-directory.ts";
import { startProgress } from "./output.ts";

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
