/** Moves a group between two Pods of one registry. All data stays where it is, so nothing is copied or compared, and no push is refused. */
import { maxSkewMs } from "../../directory/moves.ts";
import { CliFailure } from "../failure.ts";
import { movedElsewhere } from "../write/moving.ts";
import type { LiveAssignment } from "./live-assignment.ts";
import type { Both } from "./registry.ts";
import { endAt, enter, type MovePorts, stepOf, type Way, waitAfterSince } from "./steps.ts";

export const haveOneRegistry = ({ source, target }: Both): boolean => source.pod.registry === target.pod.registry;

/**
 * Moves a group to its new Pod, from the phase that it is in. From `copy` on, edges give tokens for both Pods, until all edges know that the new Pod
 * serves the group.
 */
export async function moveWithinRegistry(ports: MovePorts, first: LiveAssignment): Promise<void> {
  const { prefix, way, say } = ports;
  for (let live = first; ; ) {
    const move = live.record?.move;
    if (move === undefined && live.pod === way.to) return;
    if (move !== undefined && move.to !== way.to) throw movedElsewhere(prefix, move, way.to);
    if (move === undefined) {
      live = await enter(ports, { live, step: stepOf(way, "copy") });
      say(`${prefix}: copy; nothing is copied, and tokens are for both Pods`);
    } else if (move.phase === "settle") {
      live = await endWithinRegistry(ports, live);
    } else {
      await waitUntilSeen(ports, live);
      // Each edge must begin `settle` as soon as it reads this step, even if the edge's clock is behind. So the step's time is in the past.
      const begin = () => new Date(Date.now() - maxSkewMs);
      live = await enter(ports, { live, step: stepOf(way, "settle"), begin });
      say(`${prefix}: settle; ${way.to} serves it`);
    }
  }
}

const waitUntilSeen = (ports: MovePorts, live: LiveAssignment, moreMs = 0): Promise<void> =>
  waitAfterSince(ports, live, { afterMs: ports.waitMs + moreMs, forWhat: "every edge knows the phase" });

/** Ends a move that is in `settle`, after every edge knows of that phase. */
export async function endWithinRegistry(ports: MovePorts, live: LiveAssignment): Promise<LiveAssignment> {
  const { prefix, way, say } = ports;
  await waitUntilSeen(ports, live, maxSkewMs);
  const ended = await endAt(ports, live, way.to);
  say(`${prefix}: only ${way.to} has it now`);
  return ended;
}

/**
 * Ends a move by returning the group to its old Pod. From `settle`, the group first goes to `copy`. So edges give tokens for both Pods until every
 * edge knows that the old Pod serves the group.
 */
export async function backWithinRegistry(opened: MovePorts, first: LiveAssignment): Promise<void> {
  const { prefix, say } = opened;
  const { record, pod: from } = first;
  if (record?.move === undefined) throw new CliFailure(`"${prefix}" is not being moved`);
  const way: Way = { from, to: record.move.to, way: "there" };
  const ports = { ...opened, way };
  let live = first;
  if (record.move.phase !== "copy") {
    live = await enter(ports, { live, step: stepOf(way, "copy") });
    say(`${prefix}: copy; ${from} serves it`);
  }
  await waitUntilSeen(ports, live);
  await endAt(ports, live, from);
  say(`${prefix}: only ${from} has it now`);
}
