/** Writes the changes of a plan, then checks that KV is what the topology says. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Topology } from "../../topology/topology.ts";
import { CliFailure } from "../failure.ts";
import { asLines, counted, inOneLine, startProgress } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { makePlan, type Plan } from "./make-plan.ts";
import { changeLines } from "./plan-text.ts";
import { actor, writeDirectory } from "./write-directory.ts";

export async function applyPlan(kv: KvStore, plan: Plan): Promise<number> {
  const progress = startProgress("records written", plan.changes.length);
  const revision = await writeDirectory(kv, { ...plan, onProgress: progress.advance });
  progress.end();
  return revision;
}

/** The pauses before each check, because KV may list a write only after some seconds. */
const lagPausesMs = [0, 2_000, 8_000];

/**
 * Makes the plan again after each pause, until it is empty: then KV is what the topology says. Throws a CliFailure if someone else wrote to KV, or if
 * the plan after the last pause is not empty.
 */
export async function checkApplied(
  kv: KvStore,
  topology: Topology,
  { changes }: Plan,
  pausesMs: readonly number[] = lagPausesMs,
): Promise<void> {
  for (const pauseMs of pausesMs) {
    await sleep(pauseMs);
    const after = await makePlan(kv, topology);
    if (after.changes.length === 0) return;
    const former = new Map(changes.map(({ key, before }) => [key, before]));
    // If each record that differs still has its text from before the apply, KV's listing probably lags behind, so we look again. Any other text was
    // written by someone else.
    if (after.changes.every(({ key, before }) => former.has(key) && former.get(key) === before)) continue;
    throw new CliFailure(describeOthers(after));
  }
  throw new CliFailure(
    "all was written, but KV still shows records as they were before: its listing lags behind, or someone put them back; " +
      "run `podctl plan` in a minute to see which",
  );
}

function describeOthers({ changes, directory }: Plan): string {
  const who = directory.record?.appliedBy;
  const named = who === undefined || who === actor() ? "" : ` (last applied by ${inOneLine(who)})`;
  const first = `all was written, but KV is not what the file says: someone else wrote ${counted(changes.length, "record")} during this apply${named}`;
  return [`${first}. To make KV what the file says, these changes are left:`, ...asLines(changeLines(changes))].join(
    "\n",
  );
}
