import type { Prefix } from "../oci/repository-name.ts";
import type { PodId } from "./pod-id.ts";
import type { AssignmentRecord } from "./records.ts";

export type MovePhase = NonNullable<AssignmentRecord["move"]>["phase"];

export type Moving = {
  readonly prefix: Prefix;
  readonly phase: MovePhase;
  /** When this phase began, as the assignment says. */
  readonly since: string;
  /** The other Pod of the move, which does not serve the group in this phase. */
  readonly other: PodId;
};

/** The Pod that serves a group. `moving` is null if the group is not being moved. */
export type Served = { readonly id: PodId; readonly moving: Moving | null };

/**
 * Returns which Pod serves a group. One edge may already know the next phase while another edge does not. A write through one of them must not go to
 * a Pod that the other one no longer reads. So in any two neighbouring phases, either the same Pod serves, or both phases refuse writes.
 * - `copy`: the old Pod serves reads and writes.
 * - `freeze`: the old Pod serves reads, and writes are refused.
 * - `switch`: the new Pod serves reads, and writes are refused.
 * - `settle`: the new Pod serves reads and writes.
 *
 * If both Pods have one registry, a write goes to the same place through either of them. Such a move has only the phases `copy` and `settle`.
 */
export function servedBy(prefix: Prefix, { pod, move }: AssignmentRecord): Served {
  if (move === undefined) return { id: pod, moving: null };
  const [serving, other] = isSwitched(move) ? [move.to, pod] : [pod, move.to];
  return { id: serving, moving: { prefix, phase: move.phase, since: move.since, other } };
}

/** Whether the new Pod serves reads. */
export const isSwitched = ({ phase }: Pick<Moving, "phase">): boolean => phase === "switch" || phase === "settle";

/** Whether writes are refused, because the data must not change while it is compared or while edges differ about the Pod that serves. */
export const refusesWrites = ({ phase }: Moving): boolean => phase === "freeze" || phase === "switch";
