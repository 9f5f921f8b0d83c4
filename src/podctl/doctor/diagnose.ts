import pMap from "p-map";
import type { Directory, Pod } from "../../directory/directory.ts";
import { type PodId, parsePodId } from "../../directory/pod-id.ts";
import { resolvePod } from "../../directory/resolve.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import { bearer, call } from "./call.ts";
import { type Check, Checks } from "./check.ts";
import { examinePod } from "./examine.ts";
import type { Deployment, Subject, User } from "./subject.ts";

export type Diagnosis = {
  readonly directory: Directory;
  /** Which Pods to look at. */
  readonly pods: readonly string[];
  /** The operator named them, and so means them to be shown the credentials. */
  readonly named: boolean;
  readonly user: User | null;
} & Pick<Deployment, "edge" | "edgeHosts" | "probeToken" | "write">;

const podsAtOnce = 4;

/** All checks of the edge and of each Pod, in the order of the Pods. */
export async function diagnose(diagnosis: Diagnosis): Promise<readonly Check[]> {
  const edge = new Checks("edge");
  const deployment = await checkEdge(diagnosis, edge);
  const settings = await diagnosis.directory.record();
  if (!settings.ok) edge.found("directory", "record-wrong", settings.error.text);
  const mayBeShown = (id: string): boolean =>
    settings.ok && (diagnosis.named || settings.value.credentials === "shared" || settings.value.default === id);
  const examined = diagnosis.pods.map((id) => new Checks(id));
  const examine = async (checks: Checks) => {
    const subject = await subjectOf(checks, diagnosis, deployment, mayBeShown(checks.pod));
    if (subject.ok) await examinePod(subject.value);
    else checks.found("record", "record-wrong", subject.error);
  };
  await pMap(examined, examine, { concurrency: podsAtOnce });
  return [edge, ...examined].flatMap(({ list }) => list);
}

async function checkEdge(diagnosis: Diagnosis, checks: Checks): Promise<Deployment> {
  const { edge, edgeHosts, probeToken, write } = diagnosis;
  const health = await call(`${edge}/-/health`);
  const deployment = {
    edge,
    edgeHosts,
    probeToken,
    write,
    edgeAheadSeconds: health.ok ? (health.value.aheadSeconds ?? 0) : 0,
  };
  if (!health.ok || health.value.status !== 200) {
    const answer = health.ok ? `answers ${health.value.status}` : health.error;
    checks.found("edge", "edge-unreachable", `${edge}/-/health: ${answer}`);
    return { ...deployment, answers: false, probing: "off" };
  }
  checks.ok("edge", "answers");
  return { ...deployment, answers: true, probing: await checkProbing(diagnosis, checks) };
}

/** Without a Pod, /-/probe answers 400 to whoever may use it. */
async function checkProbing({ edge, probeToken }: Diagnosis, checks: Checks): Promise<"on" | "off"> {
  if (probeToken === null) {
    checks.skip("probe", "podctl has no PROBE_TOKEN: set PODCTL_PROBE_TOKEN to the Worker's");
    return "off";
  }
  const answer = await call(`${edge}/-/probe`, { headers: bearer(probeToken) });
  const status = answer.ok ? answer.value.status : 0;
  if (status === 400) {
    checks.ok("probe", "answers");
    return "on";
  }
  if (status === 401) checks.found("probe", "probe-refused", "/-/probe refuses podctl's token");
  else checks.found("probe", "probe-off", `/-/probe answers ${answer.ok ? status : answer.error}`);
  return "off";
}

async function subjectOf(
  checks: Checks,
  { directory, user }: Diagnosis,
  deployment: Deployment,
  mayBeShown: boolean,
): Promise<Result<Subject, string>> {
  const pod = await readPod(checks.pod, directory);
  if (!pod.ok) return pod;
  const probe = pod.value.probe ?? null;
  const way = pod.value.trust === undefined ? "direct" : "through the edge";
  const owner = probe === null ? null : await resolvePod(directory, { name: probe.repository });
  const ownsProbe = owner?.ok === true && owner.value.pod?.id === pod.value.id;
  return ok({ pod: pod.value, checks, deployment, user: mayBeShown ? user : null, probe, ownsProbe, way });
}

async function readPod(text: string, directory: Directory): Promise<Result<Pod, string>> {
  const id: Result<PodId, string> = parsePodId(text);
  if (!id.ok) return id;
  const pod = await directory.pod(id.value);
  if (!pod.ok) return err(pod.error.text);
  return pod.value === null ? err(`Pod "${text}" has no record`) : ok(pod.value);
}
