import { setTimeout as sleep } from "node:timers/promises";
import { type MovePhase, maxSkewMs } from "../../directory/moves.ts";
import type { PodId } from "../../directory/pod-id.ts";
import type { Prefix } from "../../oci/repository-name.ts";
import { CliFailure, leavingBehind } from "../failure.ts";
import type { KvStore } from "../target/kv-store.ts";
import type { Limit } from "./limit.ts";
import type { LiveAssignment } from "./live-assignment.ts";
import type { StateFile } from "./state-file.ts";
import { type Step, type Written, writeStep } from "./write-step.ts";

export type MovePorts = {
  readonly kv: KvStore;
  readonly prefix: Prefix;
  /** The assigned prefixes below `prefix`, as they were when the run began. They are not in the group, so they do not move. */
  readonly without: readonly Prefix[];
  readonly way: Way;
  readonly state: StateFile;
  /** How long it takes until every edge knows what a step wrote to KV. So a phase is announced this long before it begins. */
  readonly waitMs: number;
  /**
   * How long the copy and the comparison of a freeze may take together, from the beginning of the freeze. If the freeze began before this run, the
   * time begins with this run.
   */
  readonly maxFreezeMs: number;
  readonly say: (text: string) => void;
  /** Runs one write of the directory at a time, because KV does not refuse a write that overwrites another one. */
  readonly inTurn: Limit;
  /** Throws a CliFailure if podctl's clock differs too much from the edge's. */
  readonly checkClock: () => Promise<void>;
};

/** The Pods between which the group moves now. With `back`, a settled group returns: `from` is the new Pod, and `to` is the former one. */
export type Way = { readonly from: PodId; readonly to: PodId; readonly way: "there" | "back" };

/** In both directions, `pod` is the Pod that the group leaves, and `move.to` is the Pod to which the group goes. */
export const stepOf = ({ from, to }: Way, phase: MovePhase, settledSince?: string): Step => ({
  pod: from,
  move: { to, phase, ...(settledSince === undefined ? {} : { settledSince }) },
});

type Entering = {
  /** The assignment that this run has read or written last. The step is written only if KV still has it. */
  readonly live: LiveAssignment;
  readonly step: Step;
  /** Returns the time at which the step begins. Without it, the step begins at once. */
  readonly begin?: (nowMs: number) => Date;
};

/** Writes the next step and returns the new assignment. */
export const enter = async (ports: MovePorts, entering: Entering): Promise<LiveAssignment> =>
  (await write(ports, entering)).live;

/** Ends the move. From now on, only this Pod has the group. */
export const endAt = (ports: MovePorts, live: LiveAssignment, pod: PodId): Promise<LiveAssignment> =>
  enter(ports, { live, step: { pod, move: null } });

/**
 * Saves the time at which the step begins in the state file, and then writes the step to KV. If the next run finds the same time in both, it knows
 * that no other podctl wrote the step.
 */
function write(
  { kv, prefix, way, state, inTurn }: MovePorts,
  { live, step, begin = () => new Date() }: Entering,
): Promise<Written> {
  const saveTime = async (nowMs: number) => {
    const since = begin(nowMs).toISOString();
    await state.write({ v: 1, ...way, since });
    return since;
  };
  const writing = () => inTurn(() => writeStep(kv, prefix, { from: live, step, begin: saveTime }));
  if (live.record?.move?.phase !== "freeze") return writing();
  return leavingBehind(`pushes to "${prefix}" may still be refused; run the command again soon`, writing);
}

/** How many times a phase is announced if KV takes too long each time. */
const announceTries = 3;

/**
 * Announces a phase: writes it with the time at which it begins. Every edge should know it by then, so that all edges begin it together. If KV took
 * too long, an edge may learn of the phase too late, so we announce it again for a later time. An edge that knows only the first announcement then
 * begins the phase too early, but no push is lost:
 * - `freeze`: this edge refuses pushes. The other edges still send pushes to the Pod that the group leaves, from which all edges read.
 * - `settle`: this edge sends pushes to the Pod to which the group moves. An edge reads from that Pod as soon as it knows an announcement, so pulls
 *   find these pushes.
 */
export async function announce(ports: MovePorts, { live, step }: Entering): Promise<LiveAssignment> {
  const { prefix, waitMs } = ports;
  await ports.checkClock().catch(async (error: unknown) => {
    // A wrong clock ends this run, so we end a freeze first. That is still possible, because the next phase is not in KV yet.
    if (live.record?.move?.phase === "freeze") await leave(ports, live);
    throw error;
  });
  const begin = (nowMs: number) => new Date(nowMs + waitMs);
  let current = live;
  for (let left = announceTries; left > 0; left -= 1) {
    const written = await write(ports, { live: current, step, begin });
    current = written.live;
    if (sinceOf(current) - written.writtenAtMs >= waitMs - maxSkewMs) return current;
  }
  // Only an announced `freeze` is taken back. After an announced `settle`, an edge may have sent pushes to the Pod to which the group moves. If the
  // group went back to `freeze`, all edges would read from the other Pod, which lacks these pushes.
  if (step.move?.phase === "freeze") await leave(ports, current);
  throw new CliFailure(
    `KV takes longer than ${maxSkewMs / 1_000} s to write the phase of "${prefix}", so the phase could begin before every edge knows it; ` +
      "run the command again when KV answers quickly",
  );
}

/** Ends a freeze: the group returns to the phase before it, and the Pod that the group leaves takes pushes again. */
export async function leave(ports: MovePorts, live: LiveAssignment): Promise<void> {
  const { way } = ports;
  const settledSince = live.record?.move?.settledSince;
  if (settledSince === undefined) {
    await enter(ports, { live, step: stepOf(way, "copy") });
    return;
  }
  const step: Step = { pod: way.to, move: { to: way.from, phase: "settle" } };
  await enter(ports, { live, step, begin: () => new Date(settledSince) });
}

/** Returns the time at which the assignment's phase begins, in milliseconds. If the group is not being moved, returns the time now. */
export const sinceOf = ({ record }: LiveAssignment): number =>
  record?.move === undefined ? Date.now() : Date.parse(record.move.since);

type Waiting = { readonly afterMs: number; readonly forWhat: string };

/** Waits until `afterMs` after the assignment's phase begins. If the group is not being moved, waits for `afterMs`. */
export async function waitAfterSince(
  ports: MovePorts,
  live: LiveAssignment,
  { afterMs, forWhat }: Waiting,
): Promise<void> {
  await ports.checkClock();
  const leftMs = sinceOf(live) + afterMs - Date.now();
  if (leftMs <= 0) return;
  ports.say(`${ports.prefix}: waiting ${Math.ceil(leftMs / 1_000)} s until ${forWhat}`);
  await sleep(leftMs);
}
