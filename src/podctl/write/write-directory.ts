/**
 * Makes one write of the directory: saves the former records under the new revision, writes the new records, and gives the directory record the new
 * revision last. If records are saved under a revision that the directory record does not have yet, the next run completes the interrupted write.
 */
import { hostname, userInfo } from "node:os";
import { blocksKey, directoryKey } from "../../directory/keys.ts";
import type { DirectoryRecord } from "../../directory/records.ts";
import type { Change } from "../../topology/difference.ts";
import { contentOf, type DirectoryContent, directorySteps, recordText } from "../../topology/record-text.ts";
import { CliFailure, leavingBehind } from "../failure.ts";
import { counted, inOneLine } from "../output.ts";
import { type KvStore, readOne } from "../target/kv-store.ts";
import {
  findFormer,
  keepInHistory,
  keptRevisions,
  readFormer,
  readHistoryIndex,
  removeHistory,
  waysOutOf,
  writeHistoryChunks,
  writeHistoryIndex,
} from "./history.ts";
import type { Former, HistoryIndex } from "./history-records.ts";
import { type DirectoryInKv, readDirectory } from "./live-directory.ts";
import { findOtherWriter } from "./other-writer.ts";
import { writeRecords } from "./write-records.ts";

type Job = {
  /** The directory record that the changes start from. */
  readonly directory: DirectoryInKv;
  /** The changes, in the order in which they are safe to write. */
  readonly changes: readonly Change[];
  /** What an operator does if KV fails during this write. By default: `podctl apply` or `podctl rollback`. */
  readonly waysOut?: string;
  /** Called with the number of keys that were written or deleted since the last call. */
  readonly onProgress?: (keys: number) => void;
  /** The pauses of `findOtherWriter`. Only tests set this. */
  readonly lagPausesMs?: readonly number[];
};

/** Returns the new revision. */
export async function writeDirectory(kv: KvStore, job: Job): Promise<number> {
  const { directory, onProgress = () => {} } = job;
  const revision = (directory.record?.revision ?? 0) + 1;
  const stamp = { revision, appliedAt: new Date(), appliedBy: actor() };
  const content = contentAfter(job);
  const changes = job.changes.filter(({ key }) => key !== directoryKey);
  await refuseOtherDirectory(kv, directory);
  await refuseOtherBlocks(kv, changes);
  const index = { revision, at: stamp.appliedAt.toISOString(), by: stamp.appliedBy };
  const former = await keepFormer(kv, { directory, changes }, index);
  const steps = directorySteps(directory.record, content);
  const textOf = (key: string, after: object) => recordText(key, after, stamp);
  const name = `write to revision ${revision}`;
  const waysOut = job.waysOut ?? waysOutOf({});
  const refused = await leavingBehind(`the ${name} is not complete: ${waysOut}`, async () => {
    await writeRecords(kv, changes, { steps, textOf, onProgress });
    await removeHistory(kv, (old) => old <= revision - keptRevisions);
    const isKept = await keepInHistory(kv, revision, former);
    // Directly before our last write, we look for another writer. If another writer has completed a write, ours would set the revision back.
    const own = { name, index, isRollback: false, directory, steps, lagPausesMs: job.lagPausesMs };
    const other = await findOtherWriter(kv, own);
    if (other !== null) return `${other}; ${describeWritten(changes, isKept)}`;
    await kv.write([[directoryKey, recordText(directoryKey, content, stamp)]]);
    return null;
  });
  if (refused !== null) throw new CliFailure(refused);
  return revision;
}

const maxNamed = 3;

/** Says what this run has written before it noticed the other writer, and how to undo that. */
function describeWritten(changes: readonly Change[], isKept: boolean): string {
  const keys = changes.map(({ key }) => key);
  if (keys.length === 0) return "this run has changed no record; `podctl plan` shows what is left to do";
  const more = keys.length > maxNamed ? ` and ${counted(keys.length - maxNamed, "more record")}` : "";
  const written = inOneLine(keys.slice(0, maxNamed).join(", ")) + more;
  const undoing = isKept
    ? "once the other write is complete, `podctl rollback` undoes both"
    : "`podctl rollback` does not undo what may be left of this in KV";
  return `this run has written ${written} already: ${undoing}, and \`podctl plan\` shows what is left to do`;
}

/** Returns the writer's name for other operators: `PODCTL_ACTOR` or, without that variable, the user and the machine. */
export function actor(): string {
  const named = process.env["PODCTL_ACTOR"];
  if (named) return named;
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    return hostname();
  }
}

function contentAfter({ directory, changes }: Job): DirectoryContent {
  const changed = changes.find(({ key }) => key === directoryKey)?.after as DirectoryContent | undefined;
  return contentOf(changed ?? directory.record ?? { credentials: "own" });
}

/**
 * Refuses to go on if KV no longer has the directory record that the changes start from. If another operator has applied, our last write would
 * replace that operator's record. If another operator has rolled back, the revision is lower now, and ours would not be the next one.
 */
async function refuseOtherDirectory(kv: KvStore, { text, record }: DirectoryInKv): Promise<void> {
  const now = await readDirectory(kv);
  if (now.text === text) return;
  throw new CliFailure(
    `KV changed since revision ${record?.revision ?? 0} was read: ${describeNow(now, record)}; nothing was written, so run the command again`,
  );
}

function describeNow({ record }: DirectoryInKv, before: DirectoryRecord | null): string {
  if (record === null) return "the directory record is gone";
  if (record.revision === before?.revision) return "the directory record has another text now";
  return `now it is at revision ${record.revision}, applied by ${inOneLine(record.appliedBy ?? "someone")}`;
}

/** Refuses to go on if the blocks have changed. All blocks are in one record, so a write that does not know of a new block would lift it. */
async function refuseOtherBlocks(kv: KvStore, changes: readonly Change[]): Promise<void> {
  const change = changes.find(({ key }) => key === blocksKey);
  if (change === undefined || (await readOne(kv, blocksKey)) === change.before) return;
  throw new CliFailure(
    "the blocks in KV have changed since they were read, so nothing was written; run the command again",
  );
}

async function formerOf(kv: KvStore, unfinished: HistoryIndex): Promise<Former> {
  if (unfinished.undone !== true) return readFormer(kv, unfinished);
  // A rollback of the interrupted write removes the history only after it has put back all texts. So if a part is missing, no text needs to be kept.
  return (await findFormer(kv, unfinished)) ?? new Map();
}

/**
 * Saves the texts that this write replaces, and returns them. If an interrupted write has already replaced a record, its history has the record's
 * former text. We keep that text, because it is from the last complete write.
 */
async function keepFormer(
  kv: KvStore,
  { directory, changes }: Job,
  index: Pick<HistoryIndex, "revision" | "at" | "by">,
): Promise<Former> {
  const unfinished = await readHistoryIndex(kv, index.revision);
  // If a write was interrupted, we overwrite the chunks of its history, one by one. The texts of that history come first, in their old order. So each
  // chunk still has all the texts that it had before. No text is lost, even if this run is interrupted between two chunks.
  const former = new Map(unfinished === null ? [] : await formerOf(kv, unfinished));
  const keep = (key: string, text: string | null) => {
    if (!former.has(key)) former.set(key, text);
  };
  keep(directoryKey, directory.text);
  for (const { key, before } of changes) keep(key, before);
  const chunks = await leavingBehind(unchanged, () => writeHistoryChunks(kv, index.revision, former));
  // Writing the chunks of a large apply takes minutes. If another operator has written the directory meanwhile, we refuse. The chunks then do no
  // harm: without an index, the chunks of a new history are ignored. The chunks of an interrupted write still have all their texts.
  await refuseOtherDirectory(kv, directory);
  await leavingBehind(unchanged, () => writeHistoryIndex(kv, { ...index, chunks }));
  return former;
}

const unchanged = "no record was changed, so run the command again";
