/**
 * Moves a group between two Pods of one registry. All data stays where it is, so nothing is copied or compared. No push is refused, because both Pods
 * write to the same place. Only the assignment and the token service change.
 */
import { CliFailure } from "../failure.ts";
import { maxSkewMs } from "./clock.ts";
import type { Both } from "./copy-blob.ts";
import { readAssignment } from "./phases.ts";
import { endAt, enter, type MovePorts, stepOf, type Way, waitAfterSince } from "./steps.ts";

export const haveOneRegistry = ({ source, target }: Both): boolean => source.pod.registry === target.pod.registry;

/**
 * Moves a group to its new Pod, from the phase that it is in. In `copy`, the token endpoints begin to give tokens of both Pods. In `settle`, the
 * edges learn that the new Pod serves the group. When all edges know this, tokens of the new Pod are enough, and the move ends.
 */
export async function moveWithinRegistry(ports: MovePorts, way: Way): Promise<void> {
  const { kv, prefix, say } = ports;
  for (;;) {
    const { record, pod } = await readAssignment(kv, prefix);
    const move = record?.move;
    if (move === undefined && pod === way.to) return;
    if (move !== undefined && move.to !== way.to)
      throw new CliFailure(`the assignment names a move to "${move.to}", and not to "${way.to}"`);
    if (move === undefined) {
      await enter(ports, way, stepOf(way, "copy"));
      say(`${prefix}: copy; nothing is copied, and tokens are for both Pods`);
    } else if (move.phase === "settle") {
      await endWithinRegistry(ports, way);
    } else {
      await waitUntilSeen(ports);
      // `settle` begins at an edge as soon as the edge knows it. We write a time in the past, so that this is true for an edge whose clock is behind,
      // too.
      await enter(ports, way, stepOf(way, "settle"), () => new Date(Date.now() - maxSkewMs));
      say(`${prefix}: settle; ${way.to} serves it`);
    }
  }
}

const waitUntilSeen = (ports: MovePorts, moreMs = 0): Promise<void> =>
  waitAfterSince(ports, ports.waitMs + moreMs, "every edge knows the phase");

/** Ends a move in `settle`. */
export async function endWithinRegistry(ports: MovePorts, way: Way): Promise<void> {
  await waitUntilSeen(ports, maxSkewMs);
  await enter(ports, way, endAt(way.to));
  ports.say(`${ports.prefix}: only ${way.to} has it now`);
}

/**
 * Gives a group that is being moved back to its old Pod. From `settle` the group first goes to `copy`, so that its tokens are of both Pods until
 * every edge knows the old Pod.
 */
export async function backWithinRegistry(ports: MovePorts): Promise<void> {
  const { kv, prefix, say } = ports;
  const { record, pod: from } = await readAssignment(kv, prefix);
  if (record?.move === undefined) throw new CliFailure("the group is not being moved");
  const way: Way = { from, to: record.move.to, way: "there" };
  if (record.move.phase !== "copy") {
    await enter(ports, way, stepOf(way, "copy"));
    say(`${prefix}: copy; ${from} serves it`);
  }
  await waitUntilSeen(ports);
  await enter(ports, way, endAt(from));
  say(`${prefix}: only ${from} has it now`);
}
