import type { Prefix } from "../oci/repository-name.ts";
import type { PodId } from "./pod-id.ts";
import type { AssignmentRecord } from "./records.ts";

export type MoveRecord = NonNullable<AssignmentRecord["move"]>;

export type MovePhase = MoveRecord["phase"];

export type Moving = {
  readonly prefix: Prefix;
  /** The phase that the group is in now. See {@link servedBy} for `return` and `switch`, which no record names. */
  readonly phase: MovePhase | "return" | "switch";
  /**
   * When the record's phase begins. During a move back from `settle`, this stays the time at which `settle` began. The edge remembers deletions under
   * keys with this time, and must still find those of `settle`.
   */
  readonly since: string;
  /** The Pod of the move that does not serve the group in this phase. */
  readonly other: PodId;
};

type Served = { readonly id: PodId; readonly moving: Moving | null };

/**
 * Returns which Pod serves a group now. Edges learn of a new phase at different times. Meanwhile, one edge must not write to a Pod that another edge
 * no longer reads. So `freeze` and `settle` are announced: the record says when they begin, and by then every edge knows the record.
 * - `copy`: the old Pod serves reads and writes.
 * - `freeze`: the old Pod serves reads, and writes are refused. Until `freeze` begins, the group stays in the phase before it.
 * - `switch`: `settle` is announced and has not begun. The new Pod serves reads, and writes are refused.
 * - `settle`: the new Pod serves reads and writes.
 * - `return`: the freeze of a move back. The new Pod, which the group now leaves, serves reads, and writes are refused.
 *
 * If both Pods share one registry, a write through either Pod goes to the same place. Such a move has only the phases `copy` and `settle`.
 */
export function servedBy(prefix: Prefix, { pod, move }: AssignmentRecord, now: Date): Served {
  if (move === undefined) return { id: pod, moving: null };
  const [serving, other] = move.phase === "settle" ? [move.to, pod] : [pod, move.to];
  return { id: serving, moving: { prefix, phase: phaseAt(move, now), since: move.settledSince ?? move.since, other } };
}

function phaseAt(move: MoveRecord, now: Date): Moving["phase"] {
  if (move.phase === "copy") return "copy";
  if (move.phase === "settle") return hasBegun(move, now) ? "settle" : "switch";
  if (move.settledSince === undefined) return hasBegun(move, now) ? "freeze" : "copy";
  return hasBegun(move, now) ? "return" : "settle";
}

/** Whether the phase that the record names has begun, and is not only announced. */
export const hasBegun = ({ since }: MoveRecord, now: Date): boolean => Date.parse(since) <= now.getTime();

/**
 * Whether the serving Pod may lack something that a client should get from the other Pod. In `copy` and `freeze`, the other Pod has only copies. If
 * the serving Pod lacks an item that was copied, a client has deleted this item.
 */
export const mayLack = ({ phase }: Moving): boolean => phase !== "copy" && phase !== "freeze";

/** Whether writes are refused, because the data must not change while it is compared or while edges differ about the Pod that serves. */
export const refusesWrites = ({ phase }: Moving): boolean => phase !== "copy" && phase !== "settle";

/**
 * podctl takes a move no step further if its clock differs from the edge's by more than this. The limit is not smaller, because podctl cannot measure
 * more exactly: an HTTP date has whole seconds, and the answer takes a moment to arrive.
 */
export const maxSkewMs = 5_000;

/** A write that began before `freeze` may still succeed until this long after the beginning of `freeze`. Then podctl compares both Pods. */
export const writesEndMs = 60_000;
/**
 * A deletion that began before `freeze` may still succeed until this long after the beginning of `freeze`. Then podctl copies once more, and removes
 * from the new Pod what was deleted. If a manifest without a tag were deleted later, the new Pod would keep it, because podctl does not see such
 * manifests when it compares both Pods.
 */
const deletionsEndMs = writesEndMs / 2;

/**
 * Returns how long a write may take before it counts as late. This is ten seconds less than podctl waits for earlier writes after a freeze has begun:
 * five for clocks that differ, and five for the answer's way to the client.
 */
export const lateAfterMs = (method: string): number =>
  (method === "DELETE" ? deletionsEndMs : writesEndMs) - 2 * maxSkewMs;
