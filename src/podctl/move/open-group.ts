/** Opens the groups of a command, and locks each of them against other podctls of this machine. */
import type { PodId } from "../../directory/pod-id.ts";
import type { Prefix } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import { note, printJson, startProgress } from "../output.ts";
import { phaseText } from "../write/moving.ts";
import { refuseWrongClock } from "./clock.ts";
import { createGroupCopy, type GroupCopy } from "./copy-group.ts";
import { openGatewayCopy } from "./gateway-copy.ts";
import { type Group, readGroup } from "./group.ts";
import { type LiveAssignment, readAssignment } from "./live-assignment.ts";
import { type MoveTarget, readPod, userAt } from "./open-move.ts";
import { type Both, openRegistry } from "./registry.ts";
import { distrusted, openStateFile, type StateFile } from "./state-file.ts";
import type { MovePorts, Way } from "./steps.ts";
import { completeStep } from "./unfinished-step.ts";

export type MoveOptions = {
  readonly jobs: number;
  /** A phase is announced this many seconds before it begins. */
  readonly wait: number;
  /** How many seconds the copy and the comparison of a freeze may take together. */
  readonly maxFreeze: number;
  readonly state: string;
  readonly takeOver?: boolean;
  readonly overwrite?: boolean;
  readonly edge?: URL;
  readonly yes?: boolean;
  readonly json?: boolean;
};

export type OpenedGroup = {
  readonly ports: MovePorts;
  readonly group: Group;
  readonly both: Both;
  readonly live: LiveAssignment;
  readonly copy: GroupCopy;
};

export async function openBoth(opened: MoveTarget, way: Way, jobs: number): Promise<Both> {
  const open = async (id: PodId) => {
    const user = await userAt(opened, id, id === namedPod(way));
    return openRegistry(await readPod(opened, id), { user, jobs, auth: opened.target.auth });
  };
  return { source: await open(way.from), target: await open(way.to) };
}

/**
 * Returns the Pod that the operator named by `--to` when the move began. On the way back, this is the Pod that the group leaves. With
 * `credentials: own`, podctl sends the general login (`PODCTL_USER`) only to this Pod and to the default Pod.
 */
export const namedPod = ({ way, from, to }: Way): PodId => (way === "there" ? to : from);

export const closeBoth = ({ source, target }: Both): void => {
  source.close();
  target.close();
};

export const reportOf = ({ ports, copy }: OpenedGroup, phase: string | null): object => ({
  prefix: ports.prefix,
  ...ports.way,
  phase,
  copied: copy.copied,
});

/** Does the work for all groups at the same time. If the work fails for one group, it goes on for the others. */
export async function forEach(
  prefixes: readonly Prefix[],
  { json }: MoveOptions,
  work: (prefix: Prefix) => Promise<object>,
): Promise<void> {
  const ended = await Promise.allSettled(prefixes.map(work));
  const reports = ended.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  if (json) printJson(reports);
  const failures = ended.flatMap((each) => (each.status === "rejected" ? [each.reason as Error] : []));
  const unexpected = failures.find((failure) => !(failure instanceof CliFailure));
  if (unexpected !== undefined) throw unexpected;
  if (failures.length > 0) throw new CliFailure(failures.map(({ message }) => message).join("\n"));
}

type GroupOptions = MoveOptions & { readonly wayOf: (live: LiveAssignment, state: StateFile) => Way };

/** Opens and locks a group, does the work, and closes the group again. */
export async function withGroup(
  opened: MoveTarget,
  prefix: Prefix,
  options: GroupOptions,
  work: (group: OpenedGroup) => Promise<object>,
): Promise<object> {
  const state = await openStateFile(options.state, prefix);
  try {
    const live = await readAssignment(opened.kv, prefix);
    refuseOthers(prefix, live, { state, takeOver: options.takeOver === true });
    await opened.inTurn(() => completeStep(opened.kv, prefix));
    const way = options.wayOf(live, state);
    const group = await readGroup(opened.kv, prefix);
    const both = await openBoth(opened, way, options.jobs);
    const say = (text: string) => note(`${new Date().toISOString().slice(11, 19)} ${text}`);
    const { kv, inTurn } = opened;
    const checkClock = () => refuseWrongClock(opened.access.origin);
    const times = { waitMs: options.wait * 1_000, maxFreezeMs: options.maxFreeze * 1_000 };
    const ports = { kv, inTurn, prefix, without: group.without, way, state, ...times, say, checkClock };
    const isOwn = live.record?.move === undefined || state.sinces.has(live.record.move.since);
    // If a run with another state folder wrote the current phase, that run may have changed the target. So we do not believe what this folder's state
    // says about the target.
    const isKnown = isOwn && state.header?.way === way.way && state.header.to === way.to;
    const saved = isKnown ? state.copied : distrusted(state.copied);
    const gateway = openGatewayCopy({ ...opened.access, auth: opened.target.auth }, both.target);
    const copy = createGroupCopy({
      ...both,
      gateway,
      group,
      jobs: options.jobs,
      mayEmpty: options.overwrite === true,
      progress: { saved, save: state.save, onRepository: showRepositories(prefix) },
    });
    try {
      return await work({ ports, group, both, live, copy });
    } finally {
      closeBoth(both);
    }
  } finally {
    await state.release();
  }
}

/** Each round of copying has its own progress bar, which begins when `done` is 1. */
function showRepositories(prefix: Prefix): (done: number, all: number) => void {
  let progress: ReturnType<typeof startProgress> | null = null;
  return (done, all) => {
    if (done === 1) progress = startProgress(`${prefix}: repositories`, all);
    progress?.advance(1);
    if (done === all) progress?.end();
  };
}

function refuseOthers(
  prefix: Prefix,
  { record }: LiveAssignment,
  { state, takeOver }: { readonly state: StateFile; readonly takeOver: boolean },
): void {
  const move = record?.move;
  if (move === undefined || takeOver || state.sinces.has(move.since)) return;
  throw new CliFailure(
    `another operator is moving "${prefix}" to "${move.to}" (${phaseText(move)}); ` +
      "if that operator has given up, go on with --take-over",
  );
}
