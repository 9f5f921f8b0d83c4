/** Puts back what a write replaced, in the same safe order; the directory record is the very last here too. */

import { directoryKey, historyKey } from "../../directory/keys.ts";
import type { DirectoryRecord } from "../../directory/records.ts";
import type { Former, HistoryIndex } from "../../topology/history.ts";
import { settingsOf, settingsSteps } from "../../topology/settings-steps.ts";
import { CliFailure } from "../failure.ts";
import { startProgress } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { readFormer, readHistoryIndex, removeHistory } from "./history.ts";
import { parseSettings } from "./live-directory.ts";
import { type Write, writeRecords } from "./write-directory.ts";

/** What the last write replaced. */
type Rollback = {
  readonly index: HistoryIndex;
  readonly former: Former;
  /** The directory record's former text, and the revision in it. */
  readonly before: string | null;
  readonly to: number;
  /** The directory record as it is now. */
  readonly settings: DirectoryRecord | null;
};

export async function rollBack(kv: KvStore): Promise<void> {
  await undo(kv, await readRollback(kv));
}

export async function readRollback(kv: KvStore): Promise<Rollback> {
  const text = (await kv.read([directoryKey])).get(directoryKey) ?? null;
  const settings = text === null ? null : parseSettings(text);
  const index = await readLastIndex(kv, settings);
  const former = await readFormer(kv, index);
  const before = former.get(directoryKey) ?? null;
  return { index, former, before, settings, to: before === null ? 0 : parseSettings(before).revision };
}

/** Of a write that did not end, else of the last that did. */
async function readLastIndex(kv: KvStore, settings: DirectoryRecord | null): Promise<HistoryIndex> {
  const revision = settings?.revision ?? 0;
  const index = (await readHistoryIndex(kv, revision + 1)) ?? (await readHistoryIndex(kv, revision));
  if (index === null)
    throw new CliFailure(`nothing is kept of what revision ${revision} replaced, so it cannot be undone`);
  return index;
}

export async function undo(kv: KvStore, { index, former, before, settings }: Rollback): Promise<void> {
  const writes = [...former]
    .filter(([key]) => key !== directoryKey)
    .map(([key, text]): Write => (text === null ? { key, text } : { key, text: () => text }));
  const to = before === null ? { credentials: "own" as const } : settingsOf(parseSettings(before));
  const { revision } = index;
  await kv.write([[historyKey(revision), JSON.stringify({ ...index, undone: true })]]);
  const progress = startProgress("records put back", writes.length);
  await writeRecords(kv, writes, settingsSteps(settings, to), progress.advance);
  progress.end();
  if (before === null) await kv.remove([directoryKey]);
  else await kv.write([[directoryKey, before]]);
  await removeHistory(kv, (some) => some === revision);
}
