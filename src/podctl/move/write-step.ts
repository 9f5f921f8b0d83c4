/** Writes a step of a move to the directory, while other podctls may also write there. */
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { directoryKey, routeKey } from "../../directory/keys.ts";
import { type MoveRecord, maxSkewMs } from "../../directory/moves.ts";
import type { PodId } from "../../directory/pod-id.ts";
import { type AssignmentRecord, assignmentRecord, parseRecord } from "../../directory/records.ts";
import type { Prefix } from "../../oci/repository-name.ts";
import { changeOf } from "../../topology/difference.ts";
import { CliFailure } from "../failure.ts";
import type { KvStore } from "../target/kv-store.ts";
import { describeUnfinished, readUnfinished, waysOutOf } from "../write/history.ts";
import { directoryInKv, orDamaged, raiseDepth } from "../write/live-directory.ts";
import { writeDirectory } from "../write/write-directory.ts";
import { type LiveAssignment, readAssignment } from "./live-assignment.ts";
import { judgeUnfinished } from "./unfinished-step.ts";

/** How many times we try to write a step. A try fails while another writer of the directory, such as another move, is at work. */
const tries = 150;
const mostPauseMs = 600;

/** What a step of a move writes into the group's assignment. `move` is null when the move ends and only `pod` has the group. */
export type Step = { readonly pod: PodId; readonly move: Omit<MoveRecord, "since"> | null };

type Writing = {
  readonly from: LiveAssignment;
  readonly step: Step;
  /**
   * Returns the step's `since`: the time at which its phase begins. `nowMs` is the present time, plus spare time if KV was too slow in an earlier
   * try.
   */
  readonly begin: (nowMs: number) => Promise<string>;
};

/** The assignment with its new step, and the time at which KV confirmed the write. */
export type Written = { readonly live: LiveAssignment; readonly writtenAtMs: number };

/**
 * Writes a step, but only if the assignment is still the one that this run knows. A run that was suspended for a while must not overwrite what
 * another operator has done meanwhile.
 */
export async function writeStep(kv: KvStore, prefix: Prefix, { from, step, begin }: Writing): Promise<Written> {
  let spareMs = 0;
  const make = async (): Promise<Made> => {
    const { record } = await readUnchanged(kv, prefix, from);
    const { v: _, revision: __, move: ___, ...own } = record ?? { v: 1, revision: 0, state: "active" as const };
    const nowMs = Date.now() + spareMs;
    const since = await begin(nowMs);
    const after = { ...own, pod: step.pod, ...(step.move === null ? {} : { move: { ...step.move, since } }) };
    return { after, notAfter: new Date(nowMs + maxSkewMs), writtenAtMs: null };
  };
  let made = await make();
  for (let left = tries; ; left -= 1) {
    const failure = await tryToWrite(kv, { prefix, from, made });
    if (failure === null) {
      const live = { record: { v: 1 as const, revision: 0, ...made.after }, pod: step.pod };
      return { live, writtenAtMs: made.writtenAtMs ?? Date.now() };
    }
    if (left === 0) throw new CliFailure(failure);
    await sleep(Math.random() * mostPauseMs);
    if (isSame((await readAssignment(kv, prefix)).record, made.after)) continue;
    // Every edge must know a step before the step's `since`, so the next try gets a later `since`. If KV was too slow for this try, `since` becomes
    // later still, so that the next try has more time.
    if (Date.now() > made.notAfter.getTime()) spareMs += maxSkewMs;
    made = await make();
  }
}

/** Reads the assignment. Throws a CliFailure if it is not the one that this run knows. */
export async function readUnchanged(kv: KvStore, prefix: Prefix, from: LiveAssignment): Promise<LiveAssignment> {
  const live = await readAssignment(kv, prefix);
  if (!isSame(live.record, from.record)) throw changed(prefix);
  return live;
}

const changed = (prefix: Prefix): CliFailure =>
  new CliFailure(
    `another operator has changed the assignment of "${prefix}"; \`podctl move ${prefix} --status\` shows it`,
  );

type Assignment = Pick<AssignmentRecord, "pod" | "move"> | null;

/**
 * Whether both name the same Pod and the same step, with the same `since`. If a move back fails, podctl writes `settle` again with the old `since`.
 * Both `settle` then count as one step.
 */
const isSame = (live: Assignment, from: Assignment): boolean =>
  live?.pod === from?.pod && isDeepStrictEqual(live?.move, from?.move);

/** A step that is ready to be written. */
type Made = {
  readonly after: Omit<AssignmentRecord, "v" | "revision">;
  readonly notAfter: Date;
  writtenAtMs: number | null;
};

type Trying = { readonly prefix: Prefix; readonly from: LiveAssignment; readonly made: Made };

/** Returns null if the step is written. Otherwise returns a text that says how another writer kept us from writing. */
async function tryToWrite(kv: KvStore, { prefix, from, made }: Trying): Promise<string | null> {
  const key = routeKey(prefix);
  const read = await kv.read([directoryKey, key]);
  const directory = directoryInKv(read.get(directoryKey) ?? null);
  const before = read.get(key) ?? null;
  const change = changeOf(key, before, made.after);
  const unfinished = await readUnfinished(kv, directory.record);
  const found = unfinished === null ? "none" : await judgeUnfinished(kv, unfinished, key);
  if (change === null && (found === "none" || found === "another's")) return null;
  const live = before === null ? null : orDamaged(parseRecord(key, before, assignmentRecord));
  if (change !== null && !isSame(live, from.record)) throw changed(prefix);
  if (unfinished !== null && found !== "may be completed") {
    const waysOut = `${waysOutOf(unfinished)}, and run this command again`;
    return `${describeUnfinished(unfinished)}; if no podctl is at work on it any more, ${waysOut}`;
  }
  const changes = [change, raiseDepth(key, directory)].flatMap((each) => each ?? []);
  try {
    const waysOut = "run this command again, which completes it";
    await writeDirectory(untilTooLate(kv, key, made), { directory, changes, waysOut });
    return null;
  } catch (error) {
    if (error instanceof CliFailure) return error.message;
    throw error;
  }
}

/** Returns a KV that begins no try of the step's write after `made.notAfter`. `made.writtenAtMs` gets the time at which this write succeeded. */
const untilTooLate = (kv: KvStore, key: string, made: Made): KvStore => ({
  ...kv,
  write: async (entries) => {
    const isStep = entries.some(([each]) => each === key);
    await kv.write(entries, isStep ? made.notAfter : undefined);
    if (isStep) made.writtenAtMs = Date.now();
  },
});
