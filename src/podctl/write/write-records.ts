/** Writes and deletes records in a safe order, both for an apply and for a rollback. */
import { directoryKey, kindOf } from "../../directory/keys.ts";
import { chunksOf } from "../../lib/collections.ts";
import type { DirectorySteps } from "../../topology/record-text.ts";
import { type KvStore, maxBulkKeys } from "../target/kv-store.ts";

/** One key to write, or to delete if `text` is null. `text` is a function because the texts of a million records are not needed at once. */
export type Write = { readonly key: string; readonly text: (() => string) | null };

type Options = { readonly steps: DirectorySteps; readonly onProgress: (keys: number) => void };

/**
 * Writes and deletes records. `writes` must be in the order of `inWriteOrder`. In between, this also writes the directory record, with the texts of
 * {@link DirectorySteps}. The caller writes the directory record's final text at the end.
 */
export async function writeRecords(
  kv: KvStore,
  writes: readonly Write[],
  { steps, onProgress }: Options,
): Promise<void> {
  const [written, deleted] = [writes.filter(({ text }) => text !== null), writes.filter(({ text }) => text === null)];
  // KV may write the keys of one call in any order, so each call has records of only one kind.
  for (const [kind, some] of byKind(written)) {
    if (kind === "route" && steps.widened !== null) await kv.write([[directoryKey, steps.widened]]);
    for (const chunk of chunksOf(some, maxBulkKeys)) {
      await kv.write(chunk.map(({ key, text }) => [key, text?.() ?? ""]));
      onProgress(chunk.length);
    }
  }
  if (deleted.length > 0 && steps.settled !== null) await kv.write([[directoryKey, steps.settled]]);
  for (const [, some] of byKind(deleted)) {
    for (const chunk of chunksOf(some, maxBulkKeys)) {
      await kv.remove(chunk.map(({ key }) => key));
      onProgress(chunk.length);
    }
  }
}

const byKind = (writes: readonly Write[]) => Map.groupBy(writes, ({ key }) => kindOf(key));
