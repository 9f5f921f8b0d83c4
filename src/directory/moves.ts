import type { Prefix } from "../oci/repository-name.ts";
import type { PodId } from "./pod-id.ts";
import type { AssignmentRecord } from "./records.ts";

/** A move as the assignment has it. */
export type MoveRecord = NonNullable<AssignmentRecord["move"]>;

/** The phases that an assignment names. */
export type MovePhase = MoveRecord["phase"];

export type Moving = {
  readonly prefix: Prefix;
  /** The phase that holds now. `switch` holds from the announcement of `settle` until `settle` begins. */
  readonly phase: MovePhase | "switch";
  /** Distinguishes this move from other moves of the group: deletions are remembered under it while the group is settled. */
  readonly since: string;
  /** The other Pod of the move, which does not serve the group in this phase. */
  readonly other: PodId;
};

/** The Pod that serves a group. `moving` is null if the group is not being moved. */
export type Served = { readonly id: PodId; readonly moving: Moving | null };

/**
 * Returns which Pod serves a group now. One edge may already know the next phase while another edge does not. A write through one of them must not go
 * to a Pod that the other one no longer reads. So `freeze` and `settle` are announced: their record says when they begin, and by then every edge knows
 * the record.
 * - `copy`: the old Pod serves reads and writes.
 * - `freeze`: the old Pod serves reads, and writes are refused. Until it begins, the former phase holds.
 * - `switch`: `settle` is announced. The new Pod serves reads, and writes are refused.
 * - `settle`: the new Pod serves reads and writes.
 *
 * If both Pods have one registry, a write goes to the same place through either of them. Such a move has only the phases `copy` and `settle`.
 */
export function servedBy(prefix: Prefix, { pod, move }: AssignmentRecord, now: Date): Served {
  if (move === undefined) return { id: pod, moving: null };
  const [serving, other] = move.phase === "settle" ? [move.to, pod] : [pod, move.to];
  return { id: serving, moving: { prefix, phase: phaseAt(move, now), since: move.settledSince ?? move.since, other } };
}

function phaseAt(move: MoveRecord, now: Date): Moving["phase"] {
  if (move.phase === "copy" || hasBegun(move, now)) return move.phase;
  if (move.phase === "settle") return "switch";
  return move.settledSince === undefined ? "copy" : "settle";
}

/** Whether the phase that the record names has begun, and is not only announced. */
export const hasBegun = ({ since }: MoveRecord, now: Date): boolean => Date.parse(since) <= now.getTime();

/** Whether the new Pod serves reads. */
export const isSwitched = ({ phase }: Moving): boolean => phase === "switch" || phase === "settle";

/** Whether writes are refused, because the data must not change while it is compared or while edges differ about the Pod that serves. */
export const refusesWrites = ({ phase }: Moving): boolean => phase === "freeze" || phase === "switch";
