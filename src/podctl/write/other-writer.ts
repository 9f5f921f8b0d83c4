/** Looks for another writer of the directory, directly before the last write of an apply or of a rollback. */
import { setTimeout as sleep } from "node:timers/promises";
import type { DirectorySteps } from "../../topology/record-text.ts";
import { inOneLine } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { readHistoryIndex } from "./history.ts";
import type { HistoryIndex } from "./history-records.ts";
import { type DirectoryInKv, readDirectory } from "./live-directory.ts";

type OwnWrite = {
  /** How messages name this write, such as "write to revision 2". */
  readonly name: string;
  /** The history index of this write or, if this write is a rollback, of the write that it undoes. */
  readonly index: Pick<HistoryIndex, "revision" | "at" | "by">;
  readonly isRollback: boolean;
  /** The directory record before this write. */
  readonly directory: DirectoryInKv;
  /** The texts that this write has given to the directory record. */
  readonly steps: DirectorySteps;
  /** Instead of {@link missingPausesMs}. Only tests set this. */
  readonly lagPausesMs?: readonly number[] | undefined;
};

/** The pause before each try to read this write's history index: for up to a minute, KV may say that a written key is not there. */
const missingPausesMs = [0, 2_000, 8_000, 20_000, 40_000];

/**
 * Says that someone else has written, too, so that this write must not go on. Null if no one else has. KV may still return an older text of the
 * directory record. So each text that the record had before or during this write is accepted.
 */
export async function findOtherWriter(kv: KvStore, own: OwnWrite): Promise<string | null> {
  const { name, index, directory, steps } = own;
  const now = await readDirectory(kv);
  if (![directory.text, steps.widened, steps.settled].includes(now.text)) {
    return `${describeOther(now)} during this ${name}`;
  }
  const revision = (directory.record?.revision ?? 0) + 1;
  const next = own.isRollback ? await readHistoryIndex(kv, revision) : await readOwnIndex(kv, own);
  if (next === null) return own.isRollback ? null : rolledBack(name);
  if (!isSameWrite(next, index)) {
    return `${inOneLine(next.by)} began another write to revision ${next.revision} at ${next.at}, during this ${name}`;
  }
  return next.undone === true && !own.isRollback ? rolledBack(name) : null;
}

/** Returns the index of this write, or that of a write which overwrote it. Null if it is gone: another operator has then rolled this write back. */
async function readOwnIndex(
  kv: KvStore,
  { index, lagPausesMs = missingPausesMs }: OwnWrite,
): Promise<HistoryIndex | null> {
  for (const pauseMs of lagPausesMs) {
    await sleep(pauseMs);
    const found = await readHistoryIndex(kv, index.revision);
    if (found !== null) return found;
  }
  return null;
}

const rolledBack = (name: string): string => `someone rolled back this ${name} while it was running`;

const describeOther = ({ record }: DirectoryInKv): string =>
  record === null
    ? "someone deleted the directory record"
    : `${inOneLine(record.appliedBy ?? "someone")} applied revision ${record.revision}`;

const isSameWrite = (one: OwnWrite["index"], other: OwnWrite["index"]): boolean =>
  one.revision === other.revision && one.at === other.at && one.by === other.by;
