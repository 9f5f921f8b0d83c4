/** Runs `podctl move` for all its groups at the same time. */
import { type PodId, parsePodId } from "../../directory/pod-id.ts";
import type { Prefix } from "../../oci/repository-name.ts";
import { confirmWrite, showWrite } from "../confirm.ts";
import { CliFailure, orFail } from "../failure.ts";
import { counted, note, print, printJson } from "../output.ts";
import type { Target } from "../target/target.ts";
import { goingOn, phaseText } from "../write/moving.ts";
import { cleanUp } from "./cleanup-group.ts";
import { type LiveAssignment, readAssignment } from "./live-assignment.ts";
import { forEach, type MoveOptions, type OpenedGroup, reportOf, withGroup } from "./open-group.ts";
import { type MoveTarget, openMoveTarget, readPod } from "./open-move.ts";
import { refuseLost, refuseUnready } from "./plan-groups.ts";
import { endSettled, giveUp, runMove } from "./run-move.ts";
import { readState, type StateFile, stateFileOf } from "./state-file.ts";
import type { Way } from "./steps.ts";
import { backWithinRegistry, endWithinRegistry, haveOneRegistry, moveWithinRegistry } from "./within-registry.ts";

export async function makeMove(
  target: Target,
  prefixes: readonly Prefix[],
  options: MoveOptions & { readonly to: PodId },
): Promise<void> {
  const { to } = options;
  const opened = await openMoveTarget(target, options.edge);
  const read = await assigned(opened, prefixes);
  await ask(await movedTexts(opened, read, to), `Move this at ${target.name}?`, options);
  await forEach(prefixes, options, async (prefix) => {
    const wayOf = (live: LiveAssignment): Way => {
      refuseUnasked(prefix, read);
      return { from: live.pod, to, way: "there" };
    };
    return withGroup(opened, prefix, { ...options, wayOf }, async (group) => {
      if (group.live.record?.move === undefined) {
        await refuseUnready(opened, group, options);
        await group.ports.state.distrust();
      }
      if (haveOneRegistry(group.both)) {
        await moveWithinRegistry(group.ports, group.live);
        await group.ports.state.end();
        return reportOf(group, null);
      }
      await runMove(group.ports, group);
      return reportOf(group, "settle");
    });
  });
}

/** There are no lines if no group will change. A group that cannot be read has no line: the work for this group reports its error later. */
async function ask(lines: readonly string[], question: string, options: MoveOptions): Promise<void> {
  if (lines.length === 0) return;
  showWrite(lines, options);
  await confirmWrite(question, options.yes);
}

/** Says which groups will be moved, and whether their pushes will be refused. Leaves out a group that is at the new Pod already. */
async function movedTexts(opened: MoveTarget, read: readonly Assigned[], to: PodId): Promise<readonly string[]> {
  const { registry } = await readPod(opened, to);
  const isWithin = async (pod: PodId) => (await readPod(opened, pod).catch(() => null))?.registry === registry;
  const leaving = read.filter(({ pod }) => pod !== to);
  const moved = await Promise.all(leaving.map(async (each) => ({ ...each, isWithin: await isWithin(each.pod) })));
  const namesOf = (some: typeof moved) => some.map(({ prefix }) => prefix).join(", ");
  const apart = namesOf(moved.filter((each) => !each.isWithin));
  const within = namesOf(moved.filter((each) => each.isWithin));
  return [
    ...(apart ? [`${apart} will be moved to ${to}. Pushes will be refused for some minutes at the end.`] : []),
    ...(within
      ? [`${within} will be moved to ${to}, which has the same registry: nothing is copied, and no push is refused.`]
      : []),
  ];
}

type Assigned = LiveAssignment & { readonly prefix: Prefix };

function refuseUnasked(prefix: Prefix, asked: readonly Assigned[]): void {
  if (asked.some((each) => each.prefix === prefix)) return;
  throw new CliFailure(
    `"${prefix}" could not be read when this command began, or its move has begun since; run the command again`,
  );
}

/** Reads the groups' assignments, without those that cannot be read. */
async function assigned({ kv }: MoveTarget, prefixes: readonly Prefix[]): Promise<readonly Assigned[]> {
  const read = async (prefix: Prefix) =>
    readAssignment(kv, prefix)
      .then((live) => [{ prefix, ...live }])
      .catch(() => []);
  return (await Promise.all(prefixes.map(read))).flat();
}

export async function backMove(target: Target, prefixes: readonly Prefix[], options: MoveOptions): Promise<void> {
  const opened = await openMoveTarget(target, options.edge);
  const read = await assigned(opened, prefixes);
  const moving = read.filter(({ record }) => record?.move !== undefined);
  const texts = moving.map(({ prefix }) => `${prefix} will go back to the Pod from which it came.`);
  await ask(texts, `Write this to ${target.name}?`, options);
  await forEach(prefixes, options, async (prefix) => {
    const wayOf = (live: LiveAssignment, state: StateFile) => {
      // The operator was asked only about groups that were being moved. If the move of another group has begun since, we refuse. A group without a
      // move needs no question: `wayBack` refuses it, or only its state file is left to be cleaned up.
      refuseUnasked(prefix, live.record?.move === undefined ? read : moving);
      return wayBack(prefix, live, state);
    };
    return withGroup(opened, prefix, { ...options, wayOf }, async (group) => {
      if (haveOneRegistry(group.both)) await backWithinRegistry(group.ports, group.live);
      else if (group.ports.way.way === "there") await giveUp(group.ports, group.live);
      else await copyBack(group, options);
      await group.ports.state.end();
      return reportOf(group, null);
    });
  });
}

async function copyBack(group: OpenedGroup, options: MoveOptions): Promise<void> {
  const { prefix, state, way } = group.ports;
  const isSettled = group.live.record?.move?.to === way.from;
  // The state file may be about the new Pod, but now the old Pod is the target, so this run reads the old Pod. Also, since an earlier try of
  // `--back`, a client may have deleted a blob and pushed it again to the new Pod. So this run looks for missing blobs once more.
  if (isSettled || state.header?.way !== "back") await state.distrust();
  if (isSettled) await refuseLost(group, options);
  await runMove(group.ports, group);
  note(`${prefix}: if topology.yaml assigns it to ${way.from}, assign it to ${way.to} there before the next apply`);
}

/**
 * Returns which way a group goes when the operator runs `--back`. `there`: `settle` is not announced yet, so `--back` only ends the move, and the old
 * Pod keeps the group. `back`: `settle` is announced or has begun, or the group is on its way back already, so `--back` moves it to the old Pod.
 */
function wayBack(prefix: Prefix, { record, pod }: LiveAssignment, state: StateFile): Way {
  const move = record?.move;
  const { header } = state;
  if (move === undefined) {
    // An earlier `--back` may have brought the group back, and been killed before it removed its state file.
    if (header?.way === "back" && header.to === pod)
      return { from: orFail(parsePodId(header.from)), to: pod, way: "back" };
    throw new CliFailure(notMoved(prefix, pod));
  }
  if (move.settledSince !== undefined) return { from: pod, to: move.to, way: "back" };
  // Once `settle` is announced, the way is `back`, because the edges begin `settle` at its time even if podctl is not running.
  return move.phase === "settle" ? { from: move.to, to: pod, way: "back" } : { from: pod, to: move.to, way: "there" };
}

export async function endMove(
  target: Target,
  prefixes: readonly Prefix[],
  options: MoveOptions & { readonly cleanup: boolean },
): Promise<void> {
  const { cleanup, jobs } = options;
  const opened = await openMoveTarget(target, options.edge);
  const what = (from: PodId) =>
    cleanup ? `its manifests at ${from} will be deleted` : "what was not copied will be out of reach";
  const ending = new Map<Prefix, Way>();
  const texts: string[] = [];
  for (const { prefix, ...live } of await assigned(opened, prefixes)) {
    const way = wayToEnd(live, await readState(stateFileOf(options.state, prefix)), cleanup);
    if (way === null) continue;
    ending.set(prefix, way);
    const ends = live.record?.move === undefined ? "has ended" : "will end";
    texts.push(`The move of ${prefix} ${ends}: ${what(way.from)}.`);
  }
  await ask(texts, `Write this to ${target.name}?`, options);
  await forEach(prefixes, options, async (prefix) => {
    const wayOf = (live: LiveAssignment, state: StateFile): Way => {
      const found = wayToEnd(live, state, cleanup);
      // The operator was asked only about the moves in `ending`. Another move may have settled since.
      if (found !== null && found.from === ending.get(prefix)?.from) return found;
      throw new CliFailure(unsettledText(prefix, live));
    };
    return withGroup(opened, prefix, { ...options, wayOf }, async (group) => {
      let deleted = 0;
      if (haveOneRegistry(group.both)) {
        if (cleanup) throw new CliFailure(nothingToCleanUp(group));
        await endWithinRegistry(group.ports, group.live);
      } else if (cleanup) deleted = await cleanUp(group, jobs);
      else await endSettled(group.ports, group.live);
      await group.ports.state.end();
      return { ...reportOf(group, null), deleted };
    });
  });
}

/** Null if the group has no move that can be ended now. */
function wayToEnd(
  { record, pod }: LiveAssignment,
  { header }: Pick<StateFile, "header">,
  cleanup: boolean,
): Way | null {
  const move = record?.move;
  // With `settledSince`, the group is on its way back, so `pod` is the Pod that `--to` named when the move began.
  if (move?.phase === "settle")
    return { from: pod, to: move.to, way: move.settledSince === undefined ? "there" : "back" };
  // An earlier `--cleanup` may have ended the move, and been killed before it had deleted everything and removed its state file.
  if (cleanup && move === undefined && header?.to === pod)
    return { from: orFail(parsePodId(header.from)), to: pod, way: header.way };
  return null;
}

function unsettledText(prefix: Prefix, { record, pod }: LiveAssignment): string {
  const move = record?.move;
  if (move === undefined) return notMoved(prefix, pod);
  return (
    `the move of "${prefix}" to "${move.to}" had not settled when this command began, so it cannot be ended; ` +
    goingOn(prefix, move)
  );
}

const notMoved = (prefix: Prefix, pod: PodId): string => `"${prefix}" is at Pod "${pod}", and is not being moved`;

const nothingToCleanUp = ({ ports: { prefix, way } }: OpenedGroup): string =>
  `${way.from} and ${way.to} have the same registry, so --cleanup would delete "${prefix}" itself; end the move with --done`;

export async function showStatus(
  target: Target,
  prefixes: readonly Prefix[],
  { state, json }: MoveOptions,
): Promise<void> {
  const kv = target.openKv();
  const all = await Promise.all(
    prefixes.map(async (prefix) => {
      const { record, pod } = await readAssignment(kv, prefix);
      const { copied } = await readState(stateFileOf(state, prefix));
      return {
        prefix,
        pod,
        move: record?.move ?? null,
        repositoriesCopied: [...copied.values()].filter(({ fingerprint }) => fingerprint !== null).length,
      };
    }),
  );
  if (json) return printJson(all);
  for (const { prefix, pod, move, repositoriesCopied } of all) {
    const saved = `${counted(repositoriesCopied, "repository")} copied by this folder's moves`;
    if (move === null) print(`${prefix} is at ${pod}, and is not being moved.`);
    else print(`${prefix} is being moved from ${pod} to ${move.to}: ${phaseText(move)}; ${saved}.`);
  }
}
