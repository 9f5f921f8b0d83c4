/** Looks for another writer of the directory, directly before the last write of an apply or of a rollback. */
import type { HistoryIndex } from "../../topology/history.ts";
import type { DirectorySteps } from "../../topology/record-text.ts";
import { CliFailure } from "../failure.ts";
import type { KvStore } from "../target/kv-store.ts";
import { readHistoryIndex } from "./history.ts";
import { type DirectoryInKv, readDirectory } from "./live-directory.ts";

type OwnWrite = {
  /** What the messages call it, such as "write to revision 2". */
  readonly name: string;
  /** The history of this write. If this is a rollback, the history of the write that it undoes. */
  readonly index: Pick<HistoryIndex, "revision" | "at" | "by">;
  /** The directory record before this write. */
  readonly directory: DirectoryInKv;
  /** The texts that this write has given to the directory record. */
  readonly steps: DirectorySteps;
};

/**
 * Refuses to go on if someone else has written, too. KV may still return an older text of the directory record, so each text that the record had
 * before or during this write is accepted.
 */
export async function refuseOtherWriter(kv: KvStore, { name, index, directory, steps }: OwnWrite): Promise<void> {
  const now = await readDirectory(kv);
  if (![directory.text, steps.widened, steps.settled].includes(now.text)) {
    throw new CliFailure(`${describeOther(now)} during this ${name}; run \`podctl plan\` to see what is left to do`);
  }
  const next = await readHistoryIndex(kv, (directory.record?.revision ?? 0) + 1);
  if (next === null || isSameWrite(next, index)) return;
  throw new CliFailure(
    `${next.by} began another write to revision ${next.revision} at ${next.at}, during this ${name}; run \`podctl plan\` once it is complete`,
  );
}

/** Says who wrote the directory record that is in KV now. */
export const describeOther = ({ record }: DirectoryInKv): string =>
  record === null
    ? "someone deleted the directory record"
    : `${record.appliedBy ?? "someone"} applied revision ${record.revision}`;

const isSameWrite = (one: OwnWrite["index"], other: OwnWrite["index"]): boolean =>
  one.revision === other.revision && one.at === other.at && one.by === other.by;
