/** Puts back what a write replaced. The directory record comes last, and the other records come in the safe order of every write. */
import { directoryKey, historyKey } from "../../directory/keys.ts";
import type { DirectoryRecord } from "../../directory/records.ts";
import { inWriteOrder } from "../../topology/difference.ts";
import { directorySteps } from "../../topology/record-text.ts";
import { CliFailure, leavingBehind } from "../failure.ts";
import { startProgress } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { readFormer, readHistoryIndex, refuseLostDirectory, removeHistory, writeHistoryIndex } from "./history.ts";
import type { Former, HistoryIndex } from "./history-records.ts";
import { type DirectoryInKv, directoryInKv, readDirectory } from "./live-directory.ts";
import { findOtherWriter } from "./other-writer.ts";
import { writeRecords } from "./write-records.ts";

export type LastWrite = {
  readonly index: HistoryIndex;
  readonly former: Former;
  /** The directory record before the write. */
  readonly before: DirectoryInKv;
  readonly now: DirectoryInKv;
};

export async function readLastWrite(kv: KvStore): Promise<LastWrite> {
  const now = await readDirectory(kv);
  const index = await readLastIndex(kv, now.record);
  const former = await readFormer(kv, index);
  return { index, former, before: directoryInKv(former.get(directoryKey) ?? null), now };
}

/** Returns the history index of the interrupted write or, if no write was interrupted, that of the last complete write. */
async function readLastIndex(kv: KvStore, directory: DirectoryRecord | null): Promise<HistoryIndex> {
  if (directory === null) await refuseLostDirectory(kv);
  const revision = directory?.revision ?? 0;
  const index = (await readHistoryIndex(kv, revision + 1)) ?? (await readHistoryIndex(kv, revision));
  if (index === null) {
    throw new CliFailure(`KV keeps no history of what revision ${revision} replaced, so it cannot be undone`);
  }
  return index;
}

export async function undoWrite(kv: KvStore, { index, former, before, now }: LastWrite): Promise<void> {
  const writes = [...former].filter(([key]) => key !== directoryKey).map(([key, after]) => ({ key, after }));
  const inOrder = inWriteOrder(writes, ({ after }) => after === null);
  const steps = directorySteps(now.record, before.record ?? { credentials: "own" });
  const { revision } = index;
  const name = `rollback of revision ${revision}`;
  const other = await leavingBehind(`the ${name} is not complete; run \`podctl rollback\` again`, async () => {
    await writeHistoryIndex(kv, { ...index, undone: true });
    const progress = startProgress("records put back", writes.length);
    await writeRecords(kv, inOrder, { steps, textOf: (_, text) => text, onProgress: progress.advance });
    progress.end();
    // We look for another writer directly before the last write, which would overwrite that writer's directory record.
    const found = await findOtherWriter(kv, { name, index, isRollback: true, directory: now, steps });
    if (found !== null) return found;
    if (before.text === null) await kv.remove([directoryKey]);
    else await kv.write([[directoryKey, before.text]]);
    await kv.remove([historyKey(revision)]);
    return null;
  });
  if (other !== null) throw new CliFailure(`${other}; run \`podctl plan\` to see what is left to do`);
  // This message must not say "run `podctl rollback` again", because this write is already undone. A second rollback would undo an earlier write.
  await leavingBehind(`the ${name} is complete, and what is left of its history is not used`, () =>
    removeHistory(kv, (some) => some === revision),
  );
}
