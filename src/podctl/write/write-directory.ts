/**
 * One write of the directory, from one revision to the next. What it replaces is kept first; then records in safe order; the
 * directory record with the new revision is the very last, so a write that was cut off is seen and finished by the next run.
 */

import { directoryKey } from "../../directory/keys.ts";
import { chunksOf } from "../../lib/collections.ts";
import { inPhases } from "../../topology/difference.ts";
import type { Former } from "../../topology/history.ts";
import type { SettingsSteps } from "../../topology/settings-steps.ts";
import { CliFailure } from "../failure.ts";
import { type KvStore, maxBulkKeys } from "../target/kv-store.ts";
import { keptRevisions, readFormer, readHistoryIndex, readUnfinished, removeHistory, writeHistory } from "./history.ts";
import { parseSettings } from "./live-directory.ts";

/** `text` is null for a key to delete. */
export type Write =
  | { readonly key: string; readonly text: () => string }
  | { readonly key: string; readonly text: null };

/** Everything but the directory record's last state, phase by phase, in bulk calls that never mix two phases. */
export async function writeRecords(
  kv: KvStore,
  writes: readonly Write[],
  steps: SettingsSteps,
  onProgress: (keys: number) => void,
): Promise<void> {
  const deletes = writes.some(({ text }) => text === null);
  for (const { kind, deletes: phaseDeletes, items } of inPhases(writes, ({ text }) => text === null)) {
    if (kind === "route" && !phaseDeletes && steps.widened !== null) await kv.write([[directoryKey, steps.widened]]);
    if (kind === "directory") {
      if (!phaseDeletes && deletes && steps.settled !== null) await kv.write([[directoryKey, steps.settled]]);
      continue;
    }
    for (const some of chunksOf(items, maxBulkKeys)) {
      if (phaseDeletes) await kv.remove(some.map(({ key }) => key));
      else await kv.write(some.flatMap(({ key, text }) => (text === null ? [] : [[key, text()] as const])));
      onProgress(some.length);
    }
  }
}

export type Job = {
  /** The one that it makes. */
  readonly revision: number;
  readonly at: Date;
  readonly by: string;
  /** Of every key that it writes, and of the directory record. */
  readonly former: Former;
  readonly writes: readonly Write[];
  readonly steps: SettingsSteps;
  /** The directory record at the end. */
  readonly final: string;
};

export async function writeDirectory(kv: KvStore, job: Job, onProgress: (keys: number) => void): Promise<void> {
  const { revision, at, by, former, steps } = job;
  const before = former.get(directoryKey) ?? null;
  const unfinished = await readUnfinished(kv, before === null ? null : parseSettings(before));
  const kept = unfinished === null ? former : olderFirst(await readFormer(kv, unfinished), former);
  await writeHistory(kv, { revision, at: at.toISOString(), by }, kept);
  await writeRecords(kv, job.writes, steps, onProgress);
  await refuseOtherWriter(kv, job, [before, steps.widened, steps.settled]);
  await removeHistory(kv, (old) => old <= revision - keptRevisions);
  await kv.write([[directoryKey, job.final]]);
}

/** What an earlier run found counts, and stays in front: chunks that are cut off while they are written again hold it still. */
function olderFirst(older: Former, newer: Former): Former {
  const all = new Map(older);
  for (const [key, text] of newer) if (!all.has(key)) all.set(key, text);
  return all;
}

/** Who else wrote the directory meanwhile. KV may still show what this write found or wrote on its way. */
async function refuseOtherWriter(
  kv: KvStore,
  { revision, at, by }: Job,
  ours: readonly (string | null)[],
): Promise<void> {
  const text = (await kv.read([directoryKey])).get(directoryKey) ?? null;
  if (!ours.includes(text)) {
    const other = text === null ? null : parseSettings(text);
    const who =
      other === null
        ? "someone deleted the directory record"
        : `${other.appliedBy ?? "someone"} applied revision ${other.revision}`;
    throw new CliFailure(
      `${who} during this write to revision ${revision}; run \`podctl plan\` to see what is left to do`,
    );
  }
  const index = await readHistoryIndex(kv, revision);
  if (index === null || (index.by === by && index.at === at.toISOString())) return;
  throw new CliFailure(
    `${index.by} began another write to revision ${revision} at ${index.at}, during this one; run \`podctl plan\` when it has ended`,
  );
}
