/** Takes a move from its current phase to the end. If a run was interrupted in a phase, the next run goes on with that phase. */
import { setTimeout as sleep } from "node:timers/promises";
import { writesEndMs } from "../../directory/moves.ts";
import type { Prefix } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import { movedElsewhere } from "../write/moving.ts";
import type { GroupCopy } from "./copy-group.ts";
import { readGroup } from "./group.ts";
import type { LiveAssignment } from "./live-assignment.ts";
import { refuseInactive } from "./open-move.ts";
import type { MayWrite } from "./registry.ts";
import { announce, endAt, enter, leave, type MovePorts, sinceOf, stepOf, type Way, waitAfterSince } from "./steps.ts";
import { readUnchanged, type Step } from "./write-step.ts";

/** After a round that changed at most this many manifests and tags, we announce the freeze. */
const smallRound = 20;
/** After this many rounds we give up: the group changes faster than we can copy it. */
const maxRounds = 30;
/**
 * How many times we compare before we report differences. A push from before the freeze may end between a copy and its comparison. Then the Pods
 * differ, but the next copy includes that push.
 */
const compareTries = 3;
/**
 * Returns the time from the beginning of the freeze to the comparison of the Pods. In this time, pushes from before the freeze end, unless `--wait`
 * is short, as in tests.
 */
const inFlightMs = (waitMs: number): number => Math.min(writesEndMs, (waitMs * 2) / 3);

type Moved = { readonly live: LiveAssignment; readonly copy: GroupCopy };

/** Runs a move until `settle` has begun, so that pushes go to `way.to`. With `--back`, this also ends the move. */
export async function runMove(ports: MovePorts, moved: Moved): Promise<void> {
  const { prefix, way, say, waitMs } = ports;
  const { copy } = moved;
  await ports.checkClock();
  let live = await takeOver(ports, moved.live);
  for (;;) {
    switch (phaseOf(prefix, live, way)) {
      case "none":
        live = await enter(ports, { live, step: stepOf(way, "copy") });
        say(`${prefix}: copy`);
        break;
      case "copy":
        // With `--back`, `settle` may be announced but not begun, and some edge may still read from the old Pod. An edge that learns of the move back
        // takes pushes at the new Pod at once. So we wait until `settle` begins.
        if (way.way === "back") await waitAfterSince(ports, live, { afterMs: 0, forWhat: `${way.from} takes pushes` });
        await copyRounds(ports, { live, copy });
        live = await announce(ports, { live, step: announced(way, "freeze", live) });
        say(`${prefix}: freeze announced; pushes are refused in ${secondsOf(waitMs)} s`);
        break;
      case "freeze":
        await compareOrLeave(ports, { live, copy });
        live = await announce(ports, { live, step: announced(way, "settle", live) });
        say(`${prefix}: settle announced; pulls come from ${way.to}, and pushes go there in ${secondsOf(waitMs)} s`);
        break;
      case "settle":
        await waitAfterSince(ports, live, { afterMs: 0, forWhat: `pushes go to ${way.to}` });
        if (way.way === "back") await endAt(ports, live, way.to);
        say(`${prefix}: pushes go to ${way.to}`);
        return;
      case "done":
        return;
    }
  }
}

/**
 * If another podctl has written `copy`, writes it again with a new `since`. If that podctl is still running, it then sees that it has lost the move.
 * In a later phase, no such write is needed: that podctl sees this within minutes, when the next phase is written.
 */
async function takeOver(ports: MovePorts, live: LiveAssignment): Promise<LiveAssignment> {
  const { way } = ports;
  const move = live.record?.move;
  if (move?.phase !== "copy" || move.to !== way.to || ports.state.sinces.has(move.since)) return live;
  // The other podctl may have changed the target since this folder's state was saved, so the target is read again.
  await ports.state.distrust();
  const taken = await enter(ports, { live, step: stepOf(way, "copy") });
  ports.say(`${ports.prefix}: copy, taken over`);
  return taken;
}

const secondsOf = (ms: number): number => Math.ceil(ms / 1_000);

/**
 * Returns the phase whose work comes next. A move back begins with `copy`, although the assignment stays in the `settle` of the first move until
 * `freeze` is announced.
 */
function phaseOf(
  prefix: Prefix,
  { record, pod }: LiveAssignment,
  { from, to, way }: Way,
): "none" | "copy" | "freeze" | "settle" | "done" {
  const move = record?.move;
  if (move === undefined) return pod === to ? "done" : "none";
  if (way === "back" && move.to === from && move.phase === "settle") return "copy";
  if (move.to !== to) throw movedElsewhere(prefix, move, to);
  return move.phase;
}

/**
 * Returns the step that announces a phase. On the way back, the group stays settled until the freeze begins. So the step also says since when the
 * group is settled.
 */
function announced(way: Way, phase: "freeze" | "settle", { record }: LiveAssignment): Step {
  const settledSince = way.way === "back" ? (record?.move?.settledSince ?? record?.move?.since) : undefined;
  return stepOf(way, phase, settledSince);
}

/**
 * Copies round after round, until a round changes little or takes no longer than `waitMs`. The freeze is then announced, and begins `waitMs` later. A
 * further round would gain nothing, because just as much may change again during these `waitMs`.
 */
async function copyRounds(ports: MovePorts, { live, copy }: Moved): Promise<void> {
  const { prefix, say, waitMs } = ports;
  const mayWrite = createCheck(ports, live);
  for (let round = 1; ; round += 1) {
    const beganMs = performance.now();
    const { changes, problems } = await copy.round(mayWrite);
    refuse(prefix, problems, "cannot be copied");
    say(`${prefix}: round ${round} copied ${changes} manifests and tags`);
    if (changes <= smallRound || performance.now() - beganMs <= waitMs) return;
    if (round === maxRounds)
      throw new CliFailure(`"${prefix}" still changes too fast after ${round} rounds; run the command again later`);
  }
}

async function copyAndCompare(ports: MovePorts, { live, copy }: Moved): Promise<readonly string[]> {
  const endedMs = inFlightMs(ports.waitMs);
  const mayWrite = createCheck(ports, live);
  // After this wait, deletions from before the freeze have ended. A manifest that is deleted after the copy would stay at the target. If it has no
  // tag, the comparison would miss it.
  await waitAfterSince(ports, live, { afterMs: endedMs / 2, forWhat: "pushes are refused" });
  // Pushes from before the freeze may still end, but a copy now makes the freeze shorter. If a late push makes the Pods differ, we copy again.
  let { problems } = await copy.round(mayWrite);
  await waitAfterSince(ports, live, { afterMs: endedMs, forWhat: "pushes that are under way have ended" });
  for (let left = compareTries; ; left -= 1) {
    const differences = problems.length > 0 ? problems : await copy.compare();
    if (differences.length === 0) await refuseOtherGroup(ports);
    if (differences.length === 0 || left === 1) return differences;
    ({ problems } = await copy.round(mayWrite));
  }
}

/** Before a write, the assignment is read again if the last reading is older than this, because the run may have been suspended. */
const checkedForMs = 10_000;

/**
 * Returns a function that this run calls before it writes or deletes. If another operator has taken over the move, this run could overwrite pushes at
 * the target, or delete the only copy of a manifest. So the function throws a CliFailure if the assignment has changed. It also throws if the Pod
 * that the group moves to is not active any more.
 */
export function createCheck(ports: MovePorts, live: LiveAssignment): MayWrite {
  let checkedAtMs = 0;
  let checking: Promise<void> | null = null;
  const check = async () => {
    const nowMs = Date.now();
    await readUnchanged(ports.kv, ports.prefix, live);
    await refuseOtherGroup(ports);
    await refuseInactive(ports.kv, ports.way.to);
    checkedAtMs = nowMs;
  };
  return async () => {
    if (Date.now() - checkedAtMs < checkedForMs) return;
    // Many writes may wait for one check, because KV's API allows few requests.
    checking ??= check().finally(() => {
      checking = null;
    });
    await checking;
  };
}

/**
 * Throws a CliFailure if an assignment below the group's prefix was added or removed since the run began. Below a new assignment, clients may push to
 * the target, and this run would remove what the source lacks. Names below a removed assignment are now in the group, but would not be copied.
 */
async function refuseOtherGroup({ kv, prefix, without }: MovePorts): Promise<void> {
  const now = await readGroup(kv, prefix);
  if (now.without.join() === without.join()) return;
  throw new CliFailure(
    `an assignment below "${prefix}" was added or removed since this command began; run the command again`,
  );
}

/** Copies and compares. If this fails or the Pods differ, ends the freeze and then throws. The Pod that the group leaves then takes pushes again. */
async function compareOrLeave(ports: MovePorts, moved: Moved): Promise<void> {
  const { prefix, way, say } = ports;
  const differences = await inTime(ports, moved).catch(async (error: unknown) => {
    // The group must not stay frozen, whatever the error is. Any user could cause one, for example by pushing a manifest with a wrong size of a blob.
    await leave(ports, moved.live);
    throw error;
  });
  if (differences.length === 0) {
    say(`${prefix}: ${way.from} and ${way.to} hold the same tags, manifests and referrers`);
    return;
  }
  // The Pods differ, so the state file may be wrong about the target. The next run must read the target again.
  await ports.state.distrust();
  await leave(ports, moved.live);
  refuse(prefix, differences, `differs between ${way.from} and ${way.to}, so pushes go to ${way.from} again`);
}

/** Copies and compares. Throws a CliFailure after `maxFreezeMs`, because a slow Pod must not keep pushes refused. */
async function inTime(ports: MovePorts, moved: Moved): Promise<readonly string[]> {
  const { prefix, way, maxFreezeMs } = ports;
  const ended = new AbortController();
  const untilFreezeMs = Math.max(0, sinceOf(moved.live) - Date.now());
  const late = sleep(untilFreezeMs + maxFreezeMs, undefined, { signal: ended.signal }).then(() => {
    throw new CliFailure(
      `"${prefix}" could not be copied and compared in ${maxFreezeMs / 1_000} s of freeze, so pushes go to ${way.from} again; ` +
        `find out why ${way.from} or ${way.to} is slow, or allow more time with --max-freeze, and run the command again`,
    );
  });
  try {
    // A copy that is late goes on until `withGroup` closes the connections to both Pods.
    return await Promise.race([copyAndCompare(ports, moved), late]);
  } finally {
    ended.abort();
  }
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

/** Ends a move whose `settle` is not announced yet. The old Pod keeps the group. */
export async function giveUp(ports: MovePorts, live: LiveAssignment): Promise<void> {
  const { prefix, way, say } = ports;
  await endAt(ports, live, way.from);
  say(`${prefix}: ${way.from} serves it as before`);
}

/** Ends a move that has settled: from now on, only the new Pod has the group. */
export async function endSettled(ports: MovePorts, live: LiveAssignment): Promise<LiveAssignment> {
  const { prefix, way, say } = ports;
  await waitAfterSince(ports, live, { afterMs: 0, forWhat: `pushes go to ${way.to}` });
  const ended = await endAt(ports, live, way.to);
  say(`${prefix}: only ${way.to} has it now`);
  return ended;
}
