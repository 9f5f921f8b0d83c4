/** Says whether a move may complete a write of the directory that was interrupted, and completes it. */
import { directoryKey, routeKey } from "../../directory/keys.ts";
import type { Prefix } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import type { KvStore } from "../target/kv-store.ts";
import { readFormer, readUnfinished } from "../write/history.ts";
import type { Former, HistoryIndex } from "../write/history-records.ts";
import { readDirectory } from "../write/live-directory.ts";
import { movingIn } from "../write/moving.ts";
import { writeDirectory } from "../write/write-directory.ts";

/** A step takes seconds, so a step that is not complete after this time was interrupted. */
const abandonedAfterMs = 20_000;
/**
 * If several moves write at the same moment, one write may have a step of each, and each step changes one key. A write of more keys than this counts
 * as an apply.
 */
const maxJoined = 100;

/**
 * Whether we may complete an interrupted write. A write that we may not complete is `ours` if it changes this group's assignment, otherwise
 * `another's`. A rollback is always `another's`.
 */
type Unfinished = "may be completed" | "ours" | "another's";

/**
 * Says whether we may complete an interrupted write, by writing the directory record with the next revision. We may in two cases:
 * - The write changes only this group's assignment.
 * - The write changes only assignments of groups in a move, and is so old that its podctl must have been killed.
 */
export async function judgeUnfinished(kv: KvStore, unfinished: HistoryIndex, key: string): Promise<Unfinished> {
  // Only `podctl rollback` completes a rollback, and no rollback undoes a step of a move.
  if (unfinished.undone === true) return "another's";
  const former = await readFormer(kv, unfinished);
  const keys = [...former.keys()].filter((each) => each !== directoryKey);
  if (keys.length === 1 && keys[0] === key) return "may be completed";
  const isOld = Date.parse(unfinished.at) + abandonedAfterMs < Date.now();
  if (isOld && keys.length > 0 && (await areSteps(kv, former, keys))) return "may be completed";
  return keys.includes(key) ? "ours" : "another's";
}

/** Whether each key is the assignment of a group that was being moved before the write (`former`) or is being moved now (KV). */
async function areSteps(kv: KvStore, former: Former, keys: readonly string[]): Promise<boolean> {
  if (keys.length > maxJoined) return false;
  const live = await kv.read(keys);
  return keys.every(
    (each) => (movingIn(each, former.get(each) ?? null) ?? movingIn(each, live.get(each) ?? null)) !== null,
  );
}

/**
 * Completes a step of this group that was interrupted after its phase was written. The move's next step would do this too, but the last step has no
 * next step.
 */
export async function completeStep(kv: KvStore, prefix: Prefix): Promise<void> {
  const directory = await readDirectory(kv);
  const unfinished = await readUnfinished(kv, directory.record);
  if (unfinished === null || (await judgeUnfinished(kv, unfinished, routeKey(prefix))) !== "may be completed") return;
  try {
    await writeDirectory(kv, { directory, changes: [] });
  } catch (error) {
    // Any write of the directory record completes our step. So we may ignore a CliFailure: another move has just written the record, or KV has
    // failed, and then the next write of the record completes our step.
    if (!(error instanceof CliFailure)) throw error;
  }
}
