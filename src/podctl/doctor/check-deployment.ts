import pMap from "p-map";
import type { Directory, Pod } from "../../directory/directory.ts";
import { type PodId, parsePodId } from "../../directory/pod-id.ts";
import { resolvePod } from "../../directory/resolve.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import { denialOf } from "../../pods/gate.ts";
import { cellOf } from "../../token-endpoint/routable-token.ts";
import { maySeeLogin, type Settings, type User } from "../target/operator.ts";
import { askProbe } from "./ask-probe.ts";
import { Clocks } from "./check-clock.ts";
import { checkEdge, type EdgeUnderTest } from "./check-edge.ts";
import { checkOneRegistry } from "./check-one-registry.ts";
import { checkRunningPod } from "./check-running-pod.ts";
import { type Check, Checks } from "./findings.ts";
import type { PodUnderTest } from "./pod-under-test.ts";

export type DeploymentUnderTest = EdgeUnderTest & {
  readonly directory: Directory;
  readonly pods: readonly string[];
  /** Returns the operator's login for a Pod. Null if the operator gave none, or none that this Pod may see. */
  readonly userAt: (pod: string, settings: Settings) => User | null;
};

const podsAtOnce = 4;

/** Returns the checks of the edge, and then those of each Pod in the order of `pods`. */
export async function checkDeployment(tested: DeploymentUnderTest): Promise<readonly Check[]> {
  const edge = new Checks("edge");
  const deployment = await checkEdge(tested, edge);
  const record = await tested.directory.record();
  if (!record.ok) edge.found("directory", "record-wrong", record.error.text);
  const settings = record.ok ? record.value : null;
  const checked = tested.pods.map((id) => new Checks(id));
  const checkOne = async (checks: Checks) => {
    const user = tested.userAt(checks.pod, settings);
    // Whether the edge sends the operator's login to the tested Pod. If the password is a GitLab token that names a cell, the edge sends the login to
    // the cell's Pod, which we assume to be the tested Pod.
    const isForPod = maySeeLogin(checks.pod, settings) || (user !== null && cellOf(user.password) !== null);
    const known = { checks, deployment, user, userAtEdge: isForPod ? user : null };
    const underTest = await podUnderTest(tested.directory, known);
    if (!underTest.ok) return checks.found("record", "record-wrong", underTest.error);
    await checkOneRegistry(underTest.value.pod, checks, tested.directory);
    await checkRunningPod(underTest.value);
  };
  await pMap(checked, checkOne, { concurrency: podsAtOnce });
  return [edge, ...checked].flatMap(({ list }) => list);
}

type Known = Pick<PodUnderTest, "checks" | "deployment" | "user" | "userAtEdge">;

async function podUnderTest(directory: Directory, known: Known): Promise<Result<PodUnderTest, string>> {
  const read = await readPod(known.checks.pod, directory);
  if (!read.ok) return read;
  const pod = read.value;
  const probe = pod.probe ?? null;
  const { whyNotAsked, denial } = await checkOwner(directory, pod, known.checks);
  const isAsked = probe !== null && pod.state !== "down" && known.deployment.probing === "on";
  const probed = isAsked ? await askProbe(known.deployment, pod) : null;
  const whyNotThroughEdge = known.deployment.answers ? whyNotAsked : "the edge does not answer";
  const clocks = new Clocks(known.deployment.edgeAheadSeconds);
  const tested = { ...known, whyNotThroughEdge, denial, clocks, pod, probe, probed };
  if (pod.trust === undefined) return ok({ ...tested, way: "direct" });
  return ok({ ...tested, user: known.userAtEdge, way: "through the edge" });
}

/** Why the edge does not ask the Pod for the probe, and what it tells a client whom the rules of the probe's group exclude. */
type Owner = { readonly whyNotAsked: string | null; readonly denial: string | null };

/**
 * Finds out whether the edge sends requests for the probe repository to this Pod. `checkDeployment` reports a wrong directory record. We report any
 * other record that keeps the edge from finding the Pod.
 */
async function checkOwner(directory: Directory, { id, probe }: Pod, checks: Checks): Promise<Owner> {
  const notAsked = (whyNotAsked: string) => ({ whyNotAsked, denial: null });
  if (probe === undefined) return notAsked("the record has no probe");
  const owner = await resolvePod(directory, { name: probe.repository });
  if (!owner.ok) {
    if ((await directory.record()).ok) checks.found("assignment", "record-wrong", owner.error.text);
    return notAsked(`the edge cannot find the Pod of the probe repository: ${owner.error.text}`);
  }
  const { pod, assignment } = owner.value;
  if (pod?.id !== id) return notAsked("the directory does not assign the probe repository to this Pod");
  return { whyNotAsked: null, denial: assignment?.clients === undefined ? null : denialOf(assignment.clients) };
}

async function readPod(text: string, directory: Directory): Promise<Result<Pod, string>> {
  const id: Result<PodId, string> = parsePodId(text);
  if (!id.ok) return id;
  const pod = await directory.pod(id.value);
  if (!pod.ok) return err(pod.error.text);
  return pod.value === null ? err(`Pod "${text}" has no record`) : ok(pod.value);
}
