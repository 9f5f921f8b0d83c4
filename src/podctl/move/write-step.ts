/** Writes the steps of a move to the directory, while other podctls may write to the directory, too. */
import { setTimeout as sleep } from "node:timers/promises";
import { directoryKey, kindOf, routeKey } from "../../directory/keys.ts";
import { assignmentRecord, parseRecord } from "../../directory/records.ts";
import { componentsOf, type Prefix } from "../../oci/repository-name.ts";
import { type Change, changeOf } from "../../topology/difference.ts";
import type { HistoryIndex } from "../../topology/history.ts";
import { contentOf, isWithin } from "../../topology/record-text.ts";
import { CliFailure, orFail } from "../failure.ts";
import type { KvStore } from "../target/kv-store.ts";
import { describeUnfinished, readFormer, readUnfinished } from "../write/history.ts";
import { type DirectoryInKv, directoryInKv, readDirectory } from "../write/live-directory.ts";
import { movingIn } from "../write/moving.ts";
import { writeDirectory } from "../write/write-directory.ts";
import type { LiveAssignment, Step } from "./phases.ts";

/** How many times we try to write a step. A try fails while another writer of the directory, such as another move, is at work. */
const tries = 150;
const mostPauseMs = 600;
/** A step takes seconds, so a step that is not complete after this time was interrupted. */
const abandonedAfterMs = 20_000;

type Writing = { readonly from: LiveAssignment; readonly step: Step; readonly since: string };

/** Writes a step, but only if the assignment is still the one that we have read (`from`). */
export async function writeStep(kv: KvStore, prefix: Prefix, { from, step, since }: Writing): Promise<void> {
  const key = routeKey(prefix);
  const { v: _, revision: __, move: ___, ...own } = from.record ?? { v: 1, revision: 0, state: "active" as const };
  const after = { ...own, pod: step.pod, ...(step.move === null ? {} : { move: { ...step.move, since } }) };
  for (let left = tries; ; left -= 1) {
    const failure = await tryToWrite(kv, { key, prefix, after, from });
    if (failure === null) return;
    if (left === 0) throw new CliFailure(failure);
    await sleep(Math.random() * mostPauseMs);
  }
}

type Trying = { readonly key: string; readonly prefix: Prefix; readonly after: object; readonly from: LiveAssignment };

/** Returns null if the step is written. Otherwise returns a text that says how another writer kept us from writing. */
async function tryToWrite(kv: KvStore, { key, prefix, after, from }: Trying): Promise<string | null> {
  const read = await kv.read([directoryKey, key]);
  const directory = directoryInKv(read.get(directoryKey) ?? null);
  const before = read.get(key) ?? null;
  const change = changeOf(key, before, after);
  const unfinished = await readUnfinished(kv, directory.record);
  const isStep = unfinished !== null && (await mayComplete(kv, unfinished, key));
  if (change === null && !isStep) return null;
  const live = before === null ? null : orFail(parseRecord(key, before, assignmentRecord));
  if (change !== null && (live?.pod !== from.record?.pod || live?.move?.since !== from.record?.move?.since)) {
    throw new CliFailure(
      `another operator has changed the assignment of "${prefix}"; \`podctl move ${prefix} --status\` shows it`,
    );
  }
  if (unfinished !== null && !isStep) return describeUnfinished(unfinished);
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
 * Whether we may complete an interrupted write. We may if it is a step of this group's move. We may also if it is a step of another group's move and
 * so old that its podctl must have been killed. A write ends with a new revision of the directory record. Our next write has the same revision, and
 * so completes the interrupted one.
 */
async function mayComplete(kv: KvStore, unfinished: HistoryIndex, key: string): Promise<boolean> {
  const former = await readFormer(kv, unfinished);
  const [other, ...more] = [...former.keys()].filter((each) => each !== directoryKey);
  if (other === undefined || more.length > 0) return false;
  if (other === key) return true;
  const isStep =
    movingIn(other, former.get(other) ?? null) ?? movingIn(other, (await kv.read([other])).get(other) ?? null);
  return isStep !== null && Date.parse(unfinished.at) + abandonedAfterMs < Date.now();
}

/**
 * Completes a step of this group that was interrupted after its phase was written. The next step of the move would complete it, but the last step has
 * no next one.
 */
export async function completeStep(kv: KvStore, prefix: Prefix): Promise<void> {
  const directory = await readDirectory(kv);
  const unfinished = await readUnfinished(kv, directory.record);
  if (unfinished === null || !(await mayComplete(kv, unfinished, routeKey(prefix)))) return;
  try {
    await writeDirectory(kv, { directory, changes: [] }, () => {});
  } catch (error) {
    // Another move has written to the directory at the same time. Its write has also completed our step.
    if (!(error instanceof CliFailure)) throw error;
  }
}

/**
 * Returns the change that raises the directory's depth to the prefix's, or null if the depth is enough. The edge looks up no prefix deeper than that
 * depth.
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
