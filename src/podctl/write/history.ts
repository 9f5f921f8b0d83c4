/** Keeps what each write replaced, so that the last {@link keptRevisions} writes can be rolled back, one after the other. */
import {
  directoryKey,
  historyChunkKey,
  historyKey,
  historyPrefix,
  nameIn,
  podPrefix,
  routePrefix,
} from "../../directory/keys.ts";
import { type DirectoryRecord, parseRecord } from "../../directory/records.ts";
import { chunksOf } from "../../lib/collections.ts";
import { CliFailure, orFail } from "../failure.ts";
import { inOneLine } from "../output.ts";
import { type KvStore, maxBulkKeys, readOne } from "../target/kv-store.ts";
import {
  type Former,
  type HistoryChunk,
  type HistoryIndex,
  historyChunk,
  historyChunks,
  historyIndex,
} from "./history-records.ts";

export const keptRevisions = 10;

export async function readHistoryIndex(kv: KvStore, revision: number): Promise<HistoryIndex | null> {
  const key = historyKey(revision);
  const text = await readOne(kv, key);
  return text === null ? null : orFail(parseRecord(key, text, historyIndex));
}

/**
 * Returns the history index of a write or rollback that is still running or was interrupted. Null if there is none. An index of the next revision
 * belongs to a write that is not complete. An index with `undone` belongs to a rollback of such a write, or of the last complete one.
 */
export async function readUnfinished(kv: KvStore, directory: DirectoryRecord | null): Promise<HistoryIndex | null> {
  if (directory === null) await refuseLostDirectory(kv);
  const revision = directory?.revision ?? 0;
  const [next, last] = [historyKey(revision + 1), historyKey(revision)];
  const texts = await kv.read([next, last]);
  const begun = texts.get(next) ?? null;
  if (begun !== null) return orFail(parseRecord(next, begun, historyIndex));
  // The index of a complete write is needed only for its rollback. So it is no failure here if this index cannot be read.
  const complete = parseRecord(last, texts.get(last) ?? "", historyIndex);
  return complete.ok && complete.value.undone === true ? complete.value : null;
}

/**
 * Refuses to go on if KV has lost its directory record. Without the record's revision, complete writes would look interrupted, and their rollbacks
 * would delete what the fleet needs.
 */
export async function refuseLostDirectory(kv: KvStore): Promise<void> {
  const indexes = (await firstKeys(kv, historyPrefix)).filter((key) => /^\d+$/.test(nameIn(key)));
  const later = indexes.find((key) => key !== historyKey(1));
  const [route] = await firstKeys(kv, routePrefix);
  // An interrupted first write may leave its history index and Pods in KV, but no directory record and no assignment. So Pods prove that the record
  // is lost only if there is no index.
  const [pod] = indexes.length > 0 ? [] : await firstKeys(kv, podPrefix);
  const left = [later, route, pod].filter((key) => key !== undefined);
  // KV may list keys that were deleted seconds ago, so we read their values.
  const texts = await kv.read([directoryKey, ...left]);
  const there = left.find((key) => texts.get(key) !== null);
  if (there === undefined || texts.get(directoryKey) !== null) return;
  throw new CliFailure(
    `record "directory" is missing in KV, but "${there}" is there; docs/runbook.md says what to do (A record is damaged)`,
  );
}

/** Returns the keys of the first page, on which the whole history fits. */
async function firstKeys(kv: KvStore, prefix: string): Promise<readonly string[]> {
  for await (const page of kv.list(prefix)) return page.map(({ key }) => key);
  return [];
}

export const describeUnfinished = ({ by, revision, at, undone }: HistoryIndex): string =>
  undone === true
    ? `the rollback of ${describeWrite({ by, revision, at })} is not complete`
    : `the write of ${inOneLine(by)} to revision ${revision} is not complete; begun at ${at}`;

/** Says how an operator ends a write or rollback that was interrupted. */
export const waysOutOf = ({ undone }: Pick<HistoryIndex, "undone">): string =>
  undone === true
    ? "complete it by `podctl rollback`"
    : "complete it by `podctl apply`, or undo it by `podctl rollback`";

export const describeWrite = ({ revision, by, at }: Pick<HistoryIndex, "revision" | "by" | "at">): string =>
  `revision ${revision} (${inOneLine(by)}, ${at})`;

export async function readFormer(kv: KvStore, index: HistoryIndex): Promise<Former> {
  const former = await findFormer(kv, index);
  // Each write replaces the directory record. If its former text is missing, a rollback would delete the record.
  if (former?.has(directoryKey)) return former;
  const { revision } = index;
  throw new CliFailure(
    `a part of "${historyKey(revision)}" is missing in KV, so revision ${revision} cannot be undone`,
  );
}

/** Null if KV does not have all chunks of the history. */
export async function findFormer(kv: KvStore, index: HistoryIndex): Promise<Former | null> {
  const all = new Map<string, string | null>();
  for await (const chunk of readChunks(kv, index)) {
    if (chunk === null) return null;
    for (const [key, text] of chunk) all.set(key, text);
  }
  return all;
}

/** Yields null for a chunk that KV does not have. */
async function* readChunks(
  kv: KvStore,
  { revision, chunks }: HistoryIndex,
): AsyncGenerator<HistoryChunk["former"] | null> {
  for (let chunk = 0; chunk < chunks; chunk += 1) {
    const key = historyChunkKey(revision, chunk);
    const text = await readOne(kv, key);
    yield text === null ? null : orFail(parseRecord(key, text, historyChunk)).former;
  }
}

/** Returns the number of chunks. The index is written after the chunks, so no run reads half a history. */
export async function writeHistoryChunks(kv: KvStore, revision: number, all: Former): Promise<number> {
  let chunks = 0;
  for (const entry of historyChunks(revision, all)) {
    await kv.write([entry]);
    chunks += 1;
  }
  return chunks;
}

/** Writes the index of a history whose chunks are in KV. From then on, other runs see that the write, or its rollback, has begun. */
export async function writeHistoryIndex(kv: KvStore, index: Omit<HistoryIndex, "v">): Promise<void> {
  await kv.write([[historyKey(index.revision), JSON.stringify({ v: 1, ...index })]]);
}

/**
 * Adds the texts that a write replaced to the history of its revision, if they are missing there. Another write to the same revision keeps its
 * history under the same keys, and may have overwritten these texts. Returns false if the history is gone or not whole, or if its rollback has begun.
 */
export async function keepInHistory(kv: KvStore, revision: number, replaced: Former): Promise<boolean> {
  const index = await readHistoryIndex(kv, revision);
  if (index === null || index.undone === true) return false;
  // Usually nothing is missing. So we do not keep the texts that we read here, because a million of them take hundreds of MB.
  const missing = new Map(replaced);
  for await (const chunk of readChunks(kv, index)) for (const [key] of chunk ?? []) missing.delete(key);
  if (missing.size === 0) return true;
  const kept = await findFormer(kv, index);
  // KV may not show a chunk of another writer yet. We must not write over what we cannot read.
  if (kept === null) return false;
  const chunks = await writeHistoryChunks(kv, revision, new Map([...kept, ...missing]));
  await writeHistoryIndex(kv, { ...index, chunks });
  return true;
}

/** Removes the indexes before the chunks. If this run is interrupted, the chunks that are left are ignored. */
export async function removeHistory(kv: KvStore, isOld: (revision: number) => boolean): Promise<void> {
  const keys: string[] = [];
  for await (const page of kv.list(historyPrefix)) {
    keys.push(...page.map(({ key }) => key).filter((key) => isOld(Number(key.split("/")[1]))));
  }
  const indexes = keys.filter((key) => key.split("/").length === 2);
  const chunks = keys.filter((key) => key.split("/").length > 2);
  for (const some of [indexes, ...chunksOf(chunks, maxBulkKeys)]) if (some.length > 0) await kv.remove(some);
}
