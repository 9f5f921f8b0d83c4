/** Writes the steps of a move to the directory, while other podctls may write to the directory, too. */
import { setTimeout as sleep } from "node:timers/promises";
import { directoryKey, kindOf, routeKey } from "../../directory/keys.ts";
import { type AssignmentRecord, assignmentRecord, parseRecord } from "../../directory/records.ts";
import { componentsOf, type Prefix } from "../../oci/repository-name.ts";
import { type Change, changeOf } from "../../topology/difference.ts";
import type { Former, HistoryIndex } from "../../topology/history.ts";
import { contentOf, isWithin } from "../../topology/record-text.ts";
import { CliFailure, orFail } from "../failure.ts";
import type { KvStore } from "../target/kv-store.ts";
import { describeUnfinished, readFormer, readUnfinished } from "../write/history.ts";
import { type DirectoryInKv, directoryInKv, readDirectory } from "../write/live-directory.ts";
import { movingIn } from "../write/moving.ts";
import { writeDirectory } from "../write/write-directory.ts";
import { type LiveAssignment, readAssignment, type Step } from "./phases.ts";

/** How many times we try to write a step. A try fails while another writer of the directory, such as another move, is at work. */
const tries = 150;
const mostPauseMs = 600;
/** A step takes seconds, so a step that is not complete after this time was interrupted. */
const abandonedAfterMs = 20_000;
/** A write with more keys is an apply, because moves join only a few steps. */
const maxJoined = 100;

type Writing = {
  readonly from: LiveAssignment;
  readonly step: Step;
  /** Returns the step's `since`. */
  readonly begin: () => Promise<string>;
};

/** Writes a step, but only if the assignment is still the one that we have read (`from`). */
export async function writeStep(kv: KvStore, prefix: Prefix, { from, step, begin }: Writing): Promise<void> {
  const key = routeKey(prefix);
  const { v: _, revision: __, move: ___, ...own } = from.record ?? { v: 1, revision: 0, state: "active" as const };
  const makeAfter = async () => {
    const since = await begin();
    return { ...own, pod: step.pod, ...(step.move === null ? {} : { move: { ...step.move, since } }) };
  };
  let after = await makeAfter();
  for (let left = tries; ; left -= 1) {
    const failure = await tryToWrite(kv, { key, prefix, after, from });
    if (failure === null) return;
    if (left === 0) throw new CliFailure(failure);
    await sleep(Math.random() * mostPauseMs);
    // The tries may take a minute. A step that is not in KV yet gets a new time, so that every edge knows the step before that time.
    if (isSame((await readAssignment(kv, prefix)).record, from.record)) after = await makeAfter();
  }
}

/** Whether nothing has changed the assignment. Each step has a time of its own. */
const isSame = (live: AssignmentRecord | null, from: AssignmentRecord | null): boolean =>
  live?.pod === from?.pod && live?.move?.since === from?.move?.since;

type Trying = { readonly key: string; readonly prefix: Prefix; readonly after: object; readonly from: LiveAssignment };

/** Returns null if the step is written. Otherwise returns a text that says how another writer kept us from writing. */
async function tryToWrite(kv: KvStore, { key, prefix, after, from }: Trying): Promise<string | null> {
  const read = await kv.read([directoryKey, key]);
  const directory = directoryInKv(read.get(directoryKey) ?? null);
  const before = read.get(key) ?? null;
  const change = changeOf(key, before, after);
  const unfinished = await readUnfinished(kv, directory.record);
  const found = unfinished === null ? "none" : await judgeUnfinished(kv, unfinished, key);
  if (change === null && (found === "none" || found === "another's")) return null;
  const live = before === null ? null : orFail(parseRecord(key, before, assignmentRecord));
  if (change !== null && !isSame(live, from.record)) {
    throw new CliFailure(
      `another operator has changed the assignment of "${prefix}"; \`podctl move ${prefix} --status\` shows it`,
    );
  }
  if (unfinished !== null && found !== "may be completed") return describeUnfinished(unfinished);
  const changes = [change, raisedDepth(key, prefix, directory)].flatMap((each) => each ?? []);
  try {
    await writeDirectory(kv, { directory, changes }, () => {});
    return null;
  } catch (error) {
    if (error instanceof CliFailure) return error.message;
    throw error;
  }
}

/**
 * What we may do about an interrupted write. `ours`: it has a step of this group and steps of other moves. It must be completed, but another podctl
 * may be about to do that.
 */
type Unfinished = "may be completed" | "ours" | "another's";

/**
 * Judges an interrupted write. If several podctls write at the same moment, one write may have the steps of several moves. We may complete the write
 * if it has only the step of this group. We may also complete it if it has only steps of moves and is so old that its podctl must have been killed.
 * Our next write completes it, because it gives the directory record the revision that the interrupted write was to make.
 */
async function judgeUnfinished(kv: KvStore, unfinished: HistoryIndex, key: string): Promise<Unfinished> {
  const former = await readFormer(kv, unfinished);
  const keys = [...former.keys()].filter((each) => each !== directoryKey);
  if (keys.length === 1 && keys[0] === key) return "may be completed";
  const isOld = Date.parse(unfinished.at) + abandonedAfterMs < Date.now();
  if (isOld && keys.length > 0 && (await areSteps(kv, former, keys))) return "may be completed";
  return keys.includes(key) ? "ours" : "another's";
}

/** Whether these are assignments of groups that are being moved, now or before the write. */
async function areSteps(kv: KvStore, former: Former, keys: readonly string[]): Promise<boolean> {
  if (keys.length > maxJoined) return false;
  const live = await kv.read(keys);
  return keys.every(
    (each) => (movingIn(each, former.get(each) ?? null) ?? movingIn(each, live.get(each) ?? null)) !== null,
  );
}

/**
 * Completes a step of this group that was interrupted after its phase was written. The move's next step would do this, too, but the last step has no
 * next one.
 */
export async function completeStep(kv: KvStore, prefix: Prefix): Promise<void> {
  const directory = await readDirectory(kv);
  const unfinished = await readUnfinished(kv, directory.record);
  if (unfinished === null || (await judgeUnfinished(kv, unfinished, routeKey(prefix))) !== "may be completed") return;
  try {
    await writeDirectory(kv, { directory, changes: [] }, () => {});
  } catch (error) {
    // Another move has written to the directory at the same time. Its write has also completed our step.
    if (!(error instanceof CliFailure)) throw error;
  }
}

/**
 * Returns the change that raises the directory's depth to that of the prefix, because the edge looks up no deeper prefix. Null if the depth is
 * enough.
 */
function raisedDepth(key: string, prefix: Prefix, { record, text }: DirectoryInKv): Change | null {
  if (kindOf(key) !== "route" || record === null || text === null || isWithin(componentsOf(prefix), record))
    return null;
  return {
    action: "change",
    key: directoryKey,
    before: text,
    after: { ...contentOf(record), depth: componentsOf(prefix) },
  };
}
