/** The steps of a move, from the group's current phase to the end. A step that was interrupted is done again. */
import { setTimeout as sleep } from "node:timers/promises";
import type { MovePhase } from "../../directory/moves.ts";
import type { PodId } from "../../directory/pod-id.ts";
import type { Prefix } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import type { KvStore } from "../target/kv-store.ts";
import type { GroupCopy } from "./copy-group.ts";
import type { Limit } from "./limit.ts";
import { type LiveAssignment, readAssignment, type Step } from "./phases.ts";
import type { StateFile } from "./state-file.ts";
import { writeStep } from "./write-step.ts";

export type MovePorts = {
  readonly kv: KvStore;
  readonly prefix: Prefix;
  readonly state: StateFile;
  /** How long we wait after the write of a phase, so that every edge knows the phase. */
  readonly waitMs: number;
  readonly say: (text: string) => void;
  /** Lets the groups of one command write to the directory one after the other, because KV cannot refuse a write that meets another one. */
  readonly inTurn: Limit;
};

/**
 * The Pods between which the group moves now. `there`: from the former Pod to the new one. `back`: from the new Pod to the former one, after the
 * group had settled.
 */
export type Way = { readonly from: PodId; readonly to: PodId; readonly way: "there" | "back" };

/** If a round changed at most this many manifests and tags, the freeze comes next. */
const smallRound = 20;
/** After this many rounds we give up, because a group that changes faster than we copy it is never done. */
const maxRounds = 30;
/**
 * How many times we copy and compare before we report differences. A push that began before the freeze may end between a copy and its comparison.
 * Then the Pods differ once, and the next copy takes the push along.
 */
const compareTries = 3;

/**
 * Writes the next step. The step's time goes to the state file first, and the step goes to KV afterwards. If this run is killed, the next run finds
 * the time in the file, and so knows that the step in KV is its own.
 */
export async function enter(ports: MovePorts, { from, to, way }: Way, step: Step): Promise<void> {
  const { kv, prefix, state, inTurn } = ports;
  await inTurn(async () => {
    const live = await readAssignment(kv, prefix);
    const since = new Date().toISOString();
    await state.write({ v: 1, from, to, way, since });
    await writeStep(kv, prefix, { from: live, step, since });
  });
}

export async function waitUntilSeen({ kv, prefix, waitMs, say }: MovePorts): Promise<void> {
  const { record } = await readAssignment(kv, prefix);
  const sinceMs = record?.move === undefined ? Date.now() : Date.parse(record.move.since);
  const leftMs = sinceMs + waitMs - Date.now();
  if (leftMs <= 0) return;
  say(`${prefix}: waiting ${Math.ceil(leftMs / 1_000)} s until every edge knows the phase`);
  await sleep(leftMs);
}

/** The step of a phase. In both directions, `pod` is the Pod that the group leaves, and `move.to` is the Pod that it goes to. */
export const stepOf = ({ from, to }: Way, phase: MovePhase): Step => ({ pod: from, move: { to, phase } });

/** Copies rounds until little changes. */
async function copyRounds(copy: GroupCopy, { prefix, say }: MovePorts): Promise<void> {
  for (let round = 1; ; round += 1) {
    const { changes, problems } = await copy.round();
    refuse(prefix, problems, "cannot be copied");
    say(`${prefix}: round ${round} copied ${changes} manifests and tags`);
    if (changes <= smallRound) return;
    if (round === maxRounds)
      throw new CliFailure(`"${prefix}" still changes too fast after ${round} rounds; run the command again later`);
  }
}

/** Copies what has changed, compares both Pods, and returns what differs. `isCompared`: in `freeze`, this run has already found both Pods equal. */
async function settleData(copy: GroupCopy, isCompared: boolean): Promise<readonly string[]> {
  for (let left = compareTries; ; left -= 1) {
    const { changes, problems } = await copy.round();
    // The Pods were equal in `freeze`. After that, only an edge that did not know the phase yet could let a push through, and this round would have
    // copied it. The round has copied nothing, so the Pods are still equal.
    if (isCompared && changes === 0 && problems.length === 0) return [];
    const differences = problems.length > 0 ? problems : await copy.compare();
    if (differences.length === 0 || left === 1) return differences;
  }
}

/** Moves a group on to `settle`, or back to its former Pod. */
export async function runMove(ports: MovePorts, way: Way, copy: GroupCopy): Promise<void> {
  const { prefix, say } = ports;
  // A run that goes on in `switch` after an interruption has not compared the Pods itself, so it must compare them in `switch`.
  let hasCompared = false;
  for (;;) {
    const phase = phaseOf(await readAssignment(ports.kv, prefix), way);
    switch (phase) {
      case "none":
        await enter(ports, way, stepOf(way, "copy"));
        say(`${prefix}: copy`);
        break;
      case "copy":
        await copyRounds(copy, ports);
        if (way.way === "there") await waitUntilSeen(ports);
        await enter(ports, way, stepOf(way, "freeze"));
        say(`${prefix}: freeze; pushes are refused`);
        break;
      case "freeze":
        await waitUntilSeen(ports);
        await compareOrLeave(ports, way, { copy, isCompared: false });
        hasCompared = true;
        await enter(ports, way, stepOf(way, "switch"));
        say(`${prefix}: switch; pulls come from ${way.to}`);
        break;
      case "switch":
        await waitUntilSeen(ports);
        await compareOrLeave(ports, way, { copy, isCompared: hasCompared });
        await enter(ports, way, way.way === "there" ? stepOf(way, "settle") : { pod: way.to, move: null });
        say(`${prefix}: pushes go to ${way.to}`);
        break;
      case "done":
        return;
    }
  }
}

/**
 * Returns the phase whose work comes next. On the way back, the directory says `settle` until we write `freeze`. Until then, the work is that of
 * `copy`.
 */
function phaseOf(
  { record, pod }: LiveAssignment,
  { from, to, way }: Way,
): "none" | "copy" | "freeze" | "switch" | "done" {
  const move = record?.move;
  if (move === undefined) return pod === to ? "done" : "none";
  if (way === "back" && move.to === from && move.phase === "settle") return "copy";
  if (move.to !== to) throw new CliFailure(`the assignment names a move to "${move.to}", and not to "${to}"`);
  return move.phase === "settle" ? "done" : move.phase;
}

/**
 * Compares both Pods. If they differ, the Pod that the group leaves takes pushes again, so that pushes are not refused for longer than necessary.
 * Then the command fails.
 */
async function compareOrLeave(
  ports: MovePorts,
  way: Way,
  { copy, isCompared }: { readonly copy: GroupCopy; readonly isCompared: boolean },
): Promise<void> {
  const { prefix, say } = ports;
  const differences = await settleData(copy, isCompared);
  if (differences.length === 0) {
    say(`${prefix}: ${way.from} and ${way.to} hold the same tags, manifests and referrers`);
    return;
  }
  // The Pods differ, so what the state file says of the target may be wrong. After the reset, the next run reads what the target holds.
  await ports.state.reset();
  await leave(ports, way);
  refuse(prefix, differences, `differs between ${way.from} and ${way.to}, so pushes go to ${way.from} again`);
}

/**
 * Returns the group to the phase in which the Pod that it leaves takes pushes. From `switch` we first go to `freeze` and wait there. Otherwise an
 * edge that still knows `switch` would read from one Pod while another edge already lets pushes into the other Pod.
 */
export async function leave(ports: MovePorts, way: Way): Promise<void> {
  const { record } = await readAssignment(ports.kv, ports.prefix);
  if (record?.move?.phase === "switch") {
    await enter(ports, way, stepOf(way, "freeze"));
    await waitUntilSeen(ports);
  }
  const there: Step = stepOf(way, "copy");
  const back: Step = { pod: way.to, move: { to: way.from, phase: "settle" } };
  await enter(ports, way, way.way === "there" ? there : back);
}

const maxShown = 20;

function refuse(prefix: Prefix, lines: readonly string[], what: string): void {
  if (lines.length === 0) return;
  const left = lines.length - maxShown;
  throw new CliFailure(
    [
      `"${prefix}" ${what}:`,
      ...lines.slice(0, maxShown).map((each) => `  ${each}`),
      ...(left > 0 ? [`  and ${left} more`] : []),
    ].join("\n"),
  );
}

/** Ends a move that has not settled. The old Pod has the group, as before the move. */
export async function giveUp(ports: MovePorts, way: Way): Promise<void> {
  await leave(ports, way);
  await enter(ports, way, { pod: way.from, move: null });
  ports.say(`${ports.prefix}: ${way.from} serves it as before`);
}

/** Ends a move that has settled: from now on only the new Pod has the group. `mustBeSeen`: returns only when no edge asks the old Pod any more. */
export async function endSettled(ports: MovePorts, way: Way, mustBeSeen: boolean): Promise<void> {
  await enter(ports, way, { pod: way.to, move: null });
  ports.say(`${ports.prefix}: only ${way.to} has it now`);
  if (mustBeSeen) await waitUntilSeen(ports);
}
