/** Says what a move would do, and refuses a move that cannot be made. */
import { routeKey } from "../../directory/keys.ts";
import type { PodId } from "../../directory/pod-id.ts";
import type { Prefix } from "../../oci/repository-name.ts";
import { advice, type Check } from "../doctor/findings.ts";
import { CliFailure } from "../failure.ts";
import { count, counted, print, printJson, startProgress } from "../output.ts";
import { readOne } from "../target/kv-store.ts";
import type { Target } from "../target/target.ts";
import { refuseMoving } from "../write/moving.ts";
import { readGroup } from "./group.ts";
import { readAssignment } from "./live-assignment.ts";
import { closeBoth, type MoveOptions, type OpenedGroup, openBoth } from "./open-group.ts";
import { checkPod, type MoveTarget, openMoveTarget, refuseInactive, userAt } from "./open-move.ts";
import { type GroupPlan, type Planning, planGroup } from "./plan-group.ts";
import type { Way } from "./steps.ts";
import { haveOneRegistry } from "./within-registry.ts";

export async function planMove(
  target: Target,
  prefixes: readonly Prefix[],
  options: MoveOptions & { readonly to: PodId },
): Promise<void> {
  const { to, jobs } = options;
  const opened = await openMoveTarget(target, options.edge);
  const plans = await Promise.all(
    prefixes.map(async (prefix) => {
      const key = routeKey(prefix);
      // During `settle`, clients push to the new Pod, and the plan would list their tags under `inTheWay`.
      refuseMoving(key, await readOne(opened.kv, key));
      const { pod: from } = await readAssignment(opened.kv, prefix);
      const way: Way = { from, to, way: "there" };
      const group = await readGroup(opened.kv, prefix);
      const checks = await checkBoth(opened, prefix, way);
      const plan = checks.some(isFinding) ? null : await planUnmoved(opened, way, { group, jobs });
      const rights = rightsChecks(plan, to);
      return { prefix, from, to, plan: rights.length === 0 ? plan : null, checks: [...checks, ...rights] };
    }),
  );
  const isRefused = plans.some(
    ({ plan }) => plan === null || (isCopied(plan) && plan.inTheWay.length > 0 && !options.overwrite),
  );
  if (options.json) printJson(plans.map((each) => ({ ...each, checks: each.checks.filter(isFinding) })));
  else
    for (const each of plans)
      print([...planLines(each), ...findingLines(each.checks), ...skippedLines(each.checks)].join("\n"));
  if (isRefused) process.exitCode = 1;
}

const isFinding = ({ status }: Check): boolean => status === "finding";

const findingLines = (checks: readonly Check[]): readonly string[] =>
  checks.flatMap((check) =>
    check.status === "finding" ? [`  ${check.pod}, ${check.check}: ${check.text}; ${advice[check.finding]}`] : [],
  );

/** `one registry`: both Pods have the same registry, so nothing is copied. */
type MovePlan = GroupPlan | "one registry";
type NamedPlan = { readonly prefix: Prefix; readonly from: PodId; readonly to: PodId; readonly plan: MovePlan | null };

const isCopied = (plan: MovePlan): plan is GroupPlan => plan !== "one registry";

/** Says what doctor could not check, such as deletes at a Pod without a probe. The operator must check this in another way. */
const skippedLines = (checks: readonly Check[]): readonly string[] =>
  checks.flatMap(({ pod, check, status, text }) =>
    status === "skipped" ? [`  not checked: ${pod}, ${check}: ${text}`] : [],
  );

/**
 * Doctor checks the user's rights only in the probe repository. The user may have fewer rights elsewhere, so the plan checks them in each repository.
 */
function rightsChecks(plan: MovePlan | null, to: PodId): readonly Check[] {
  const [first, ...others] = plan === null || !isCopied(plan) ? [] : plan.forbidden;
  if (first === undefined) return [];
  const more = others.length === 0 ? "" : ` and ${count(others.length)} more`;
  const text = `the user may not push and delete in "${first}"${more}`;
  return [{ pod: to, check: "rights", status: "finding", finding: "credentials-refused", text }];
}

function planLines({ prefix, from, to, plan }: NamedPlan): readonly string[] {
  if (plan === null) return [`${prefix} cannot be moved from ${from} to ${to} until these findings are gone:`];
  if (!isCopied(plan)) {
    return [
      `${prefix} moves from ${from} to ${to}, which has the same registry: nothing is copied, and no push is refused.`,
    ];
  }
  const { repositories, tags, manifests, toCopy, inTheWay } = plan;
  return [
    `${prefix} moves from ${from} to ${to}.`,
    `  ${from} has ${counted(repositories, "tagged repository")}, ${counted(tags, "tag")}, ${counted(manifests, "manifest")}`,
    `  to copy: ${counted(toCopy.tags, "tag")}, ${counted(toCopy.manifests, "manifest")}, at most ${count(toCopy.bytes)} bytes`,
    ...(toCopy.bytes === 0
      ? []
      : [`  no registry says how much room it has; docs/moves.md says how to check that of ${to}`]),
    ...inTheWayLines(inTheWay, to),
  ];
}

const maxShown = 20;

const inTheWayLines = (tags: readonly string[], to: PodId): readonly string[] =>
  tags.length === 0
    ? []
    : [
        `  ${to} has ${counted(tags.length, "tag")} that the move would remove or overwrite; it does so only with --overwrite:`,
        ...tags.slice(0, maxShown).map((each) => `    ${each}`),
      ];

async function planUnmoved(
  opened: MoveTarget,
  way: Way,
  { group, jobs }: Pick<Planning, "group" | "jobs">,
): Promise<MovePlan> {
  const both = await openBoth(opened, way, jobs);
  try {
    return haveOneRegistry(both) ? "one registry" : await planOne({ ...both, group, jobs, countsBytes: true });
  } finally {
    closeBoth(both);
  }
}

async function planOne(planning: Planning): Promise<GroupPlan> {
  const progress = startProgress(`${planning.group.prefix}: repositories looked at`, null);
  const plan = await planGroup({ ...planning, onRepository: () => progress.advance(1) });
  progress.end();
  return plan;
}

async function checkBoth(opened: MoveTarget, prefix: Prefix, { from, to }: Way): Promise<readonly Check[]> {
  if (from === to) throw new CliFailure(`"${prefix}" is at Pod "${to}" already`);
  await refuseInactive(opened.kv, to);
  const checks = [from, to].map(async (id) => checkPod(opened, id, await userAt(opened, id, id === to)));
  return (await Promise.all(checks)).flat();
}

/**
 * Refuses a move back (`--back`) that may delete the last copy of a repository. A move back removes from the former Pod every tag that the serving
 * Pod lacks. If the serving Pod has no tag of a repository, it may have lost its storage.
 */
export async function refuseLost({ both, group, ports }: OpenedGroup, options: MoveOptions): Promise<void> {
  if (options.overwrite) return;
  // Reading both Pods may take long, so we report a wrong clock first.
  await ports.checkClock();
  const { onlyThere } = await planGroup({ ...both, group, jobs: options.jobs, countsBytes: false });
  if (onlyThere.length === 0) return;
  const { prefix, way } = ports;
  const shown = onlyThere.slice(0, maxShown).map((name) => `  ${name}`);
  const text = `"${prefix}" cannot go back: ${counted(onlyThere.length, "repository")} with tags at ${way.to} and none at ${way.from}, which the way back would empty; it does so only with --overwrite:`;
  throw new CliFailure([text, ...shown].join("\n"));
}

/**
 * Refuses to begin a move if a check of either Pod has a finding. Without --overwrite, also refuses a move that would remove or overwrite tags at the
 * target.
 */
export async function refuseUnready(
  opened: MoveTarget,
  { ports: { prefix, way }, group, both }: OpenedGroup,
  options: MoveOptions,
): Promise<void> {
  const refuse = (findings: readonly string[]): void => {
    if (findings.length > 0) throw new CliFailure([`${prefix} cannot be moved to ${way.to}:`, ...findings].join("\n"));
  };
  refuse(findingLines(await checkBoth(opened, prefix, way)));
  if (haveOneRegistry(both)) return;
  const plan = await planOne({ ...both, group, jobs: options.jobs, countsBytes: false });
  refuse(findingLines(rightsChecks(plan, way.to)));
  const { inTheWay } = plan;
  if (inTheWay.length > 0 && !options.overwrite)
    throw new CliFailure([`${prefix} cannot be moved:`, ...inTheWayLines(inTheWay, way.to)].join("\n"));
}
