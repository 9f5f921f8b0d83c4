/** Carries a plan out, and looks afterwards whether KV is what was planned. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Topology } from "../directory/topology.ts";
import { actor } from "./actor.ts";
import { CliFailure } from "./failure.ts";
import { jobOf } from "./job.ts";
import type { KvStore } from "./kv-store.ts";
import { makePlan, type Plan } from "./make-plan.ts";
import { counted, startProgress } from "./output.ts";
import { changeLines } from "./plan-text.ts";
import { writeDirectory } from "./write-directory.ts";

/** Gives the revision that it made. */
export async function applyPlan(kv: KvStore, plan: Plan): Promise<number> {
  const job = jobOf(plan, { appliedAt: new Date(), appliedBy: actor() });
  const progress = startProgress("records written", job.writes.length);
  await writeDirectory(kv, job, progress.advance);
  progress.end();
  return job.revision;
}

/** A listing may lag behind a write. */
const lagPausesMs = [0, 2_000, 8_000];

/** Plans again: whatever differs now was written by someone else meanwhile. */
export async function checkApplied(kv: KvStore, topology: Topology, { changes }: Plan): Promise<void> {
  const former = new Map(changes.map(({ key, before }) => [key, before]));
  for (const [index, pauseMs] of lagPausesMs.entries()) {
    await sleep(pauseMs);
    const after = await makePlan(kv, topology);
    if (after.changes.length === 0) return;
    const lagging = after.changes.every(({ key, before }) => former.has(key) && former.get(key) === before);
    if (lagging && index < lagPausesMs.length - 1) continue;
    const who = after.live.settings?.appliedBy;
    throw new CliFailure(
      [
        `all was written, but KV is not as the file says: someone else wrote ${counted(after.changes.length, "record")} during this apply` +
          `${who === undefined || who === actor() ? "" : ` (last applied by ${who})`}. To be as the file says it now lacks:`,
        ...changeLines(after.changes),
      ].join("\n"),
    );
  }
}
