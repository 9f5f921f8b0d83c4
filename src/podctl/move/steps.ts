/** Writes the steps of a move, and waits for the times that they name. */
import { setTimeout as sleep } from "node:timers/promises";
import type { MovePhase } from "../../directory/moves.ts";
import type { PodId } from "../../directory/pod-id.ts";
import type { Prefix } from "../../oci/repository-name.ts";
import type { KvStore } from "../target/kv-store.ts";
import type { Limit } from "./limit.ts";
import { readAssignment, type Step } from "./phases.ts";
import type { StateFile } from "./state-file.ts";
import { writeStep } from "./write-step.ts";

export type MovePorts = {
  readonly kv: KvStore;
  readonly prefix: Prefix;
  readonly state: StateFile;
  /** How long it takes until every edge knows a step. A phase is announced this long before it begins. */
  readonly waitMs: number;
  readonly say: (text: string) => void;
  /** Lets the groups of one command write to the directory one after the other, because KV cannot refuse a write that meets another one. */
  readonly inTurn: Limit;
  /** Throws a CliFailure if podctl's clock is not that of the edges. */
  readonly checkClock: () => Promise<void>;
};

/**
 * The Pods between which the group moves now. `there`: from the former Pod to the new one. `back`: from the new Pod to the former one, after the
 * group had settled.
 */
export type Way = { readonly from: PodId; readonly to: PodId; readonly way: "there" | "back" };

/** The step of a phase. In both directions, `pod` is the Pod that the group leaves, and `move.to` is the Pod that it goes to. */
export const stepOf = ({ from, to }: Way, phase: MovePhase, settledSince?: string): Step => ({
  pod: from,
  move: { to, phase, ...(settledSince === undefined ? {} : { settledSince }) },
});

const now = (): Date => new Date();

/** The step with which a move ends. */
export const endAt = (pod: PodId): Step => ({ pod, move: null });

/**
 * Writes the next step. `begin` gives the time at which the step begins, and is called when the step is written. We save this time in the state file
 * before we write the step to KV. If this run is killed, the next run finds the time in the file, and so knows that the step in KV is its own.
 */
export async function enter(ports: MovePorts, { from, to, way }: Way, step: Step, begin = now): Promise<void> {
  const { kv, prefix, state, inTurn } = ports;
  await inTurn(async () => {
    const live = await readAssignment(kv, prefix);
    const saveTime = async () => {
      const since = begin().toISOString();
      await state.write({ v: 1, from, to, way, since });
      return since;
    };
    await writeStep(kv, prefix, { from: live, step, begin: saveTime });
  });
}

/** Writes a phase that begins later, when every edge knows of it. So all edges begin it at the same moment, even an edge that learns of it late. */
export async function announce(ports: MovePorts, way: Way, step: Step): Promise<void> {
  await ports.checkClock();
  await enter(ports, way, step, () => new Date(Date.now() + ports.waitMs));
}

/** Waits until `afterMs` after the `since` of the step in KV. If KV has no move, waits for `afterMs`. */
export async function waitAfterSince(ports: MovePorts, afterMs: number, forWhat: string): Promise<void> {
  const { kv, prefix, say } = ports;
  await ports.checkClock();
  const { record } = await readAssignment(kv, prefix);
  const sinceMs = record?.move === undefined ? Date.now() : Date.parse(record.move.since);
  const leftMs = sinceMs + afterMs - Date.now();
  if (leftMs <= 0) return;
  say(`${prefix}: waiting ${Math.ceil(leftMs / 1_000)} s until ${forWhat}`);
  await sleep(leftMs);
}
