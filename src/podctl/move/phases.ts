/** Reads and writes the phase of a move in the directory. Each phase is one write with a line of its own in the history. */
import { setTimeout as sleep } from "node:timers/promises";
import { directoryKey, kindOf, routeKey } from "../../directory/keys.ts";
import type { MovePhase } from "../../directory/moves.ts";
import { type PodId, parsePodId } from "../../directory/pod-id.ts";
import { type AssignmentRecord, assignmentRecord, parseRecord } from "../../directory/records.ts";
import { componentsOf, type Prefix } from "../../oci/repository-name.ts";
import { type Change, changeOf } from "../../topology/difference.ts";
import type { HistoryIndex } from "../../topology/history.ts";
import { contentOf, isWithin } from "../../topology/record-text.ts";
import { CliFailure, orFail } from "../failure.ts";
import type { KvStore } from "../target/kv-store.ts";
import { describeUnfinished, readFormer, readUnfinished } from "../write/history.ts";
import { type DirectoryInKv, directoryInKv } from "../write/live-directory.ts";
import { writeDirectory } from "../write/write-directory.ts";

/** A group's assignment as it is in KV. `record` is null if the group has none and belongs to the default Pod. */
export type LiveAssignment = { readonly record: AssignmentRecord | null; readonly pod: PodId };

/** Throws a CliFailure if the group has no Pod. */
export async function readAssignment(kv: KvStore, prefix: Prefix): Promise<LiveAssignment> {
  const key = routeKey(prefix);
  const read = await kv.read([directoryKey, key]);
  const text = read.get(key) ?? null;
  if (text !== null) {
    const record = orFail(parseRecord(key, text, assignmentRecord));
    return { record, pod: record.pod };
  }
  const { record: directory } = directoryInKv(read.get(directoryKey) ?? null);
  if (directory?.default === undefined || componentsOf(prefix) > 1) {
    throw new CliFailure(
      `"${prefix}" is not assigned; \`podctl assign\` assigns a prefix, and a move needs one that is`,
    );
  }
  return { record: null, pod: directory.default };
}

/** The state that a step of a move writes: in a phase, or at one Pod again. */
export type Step = { readonly pod: PodId; readonly move: { readonly to: PodId; readonly phase: MovePhase } | null };

/** Other writers of the directory may be at work at the same time, such as other moves. */
const tries = 40;
const mostPauseMs = 500;

type Writing = { readonly from: LiveAssignment; readonly step: Step; readonly since: string };

/** Writes a step if the assignment still is as it was read. */
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

/** Null once the step is written; else why another writer kept it from being written. */
async function tryToWrite(kv: KvStore, { key, prefix, after, from }: Trying): Promise<string | null> {
  const read = await kv.read([directoryKey, key]);
  const directory = directoryInKv(read.get(directoryKey) ?? null);
  const before = read.get(key) ?? null;
  const change = changeOf(key, before, after);
  const unfinished = await readUnfinished(kv, directory.record);
  const isOwn = unfinished !== null && (await isStepOf(kv, unfinished, key));
  if (change === null && !isOwn) return null;
  const live = before === null ? null : orFail(parseRecord(key, before, assignmentRecord));
  if (change !== null && (live?.pod !== from.record?.pod || live?.move?.since !== from.record?.move?.since)) {
    throw new CliFailure(
      `another operator has changed the assignment of "${prefix}"; \`podctl move ${prefix} --status\` shows it`,
    );
  }
  if (unfinished !== null && !isOwn) return describeUnfinished(unfinished);
  const changes = [change, raisedDepth(key, prefix, directory)].flatMap((each) => each ?? []);
  try {
    await writeDirectory(kv, { directory, changes }, () => {});
    return null;
  } catch (error) {
    if (error instanceof CliFailure) return error.message;
    throw error;
  }
}

/** Whether an interrupted write is a step of this group's move. The next write of a step completes it. */
async function isStepOf(kv: KvStore, unfinished: HistoryIndex, key: string): Promise<boolean> {
  const former = await readFormer(kv, unfinished);
  return [...former.keys()].every((each) => each === key || each === directoryKey);
}

/** A prefix of the default Pod may be deeper than what the edge looks up. */
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

export const podIdOf = (text: string): PodId => orFail(parsePodId(text));
