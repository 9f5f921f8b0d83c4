import { bearer, call } from "../http-call.ts";
import type { Checks } from "./findings.ts";
import type { Deployment } from "./pod-under-test.ts";

export type EdgeUnderTest = Pick<Deployment, "edge" | "edgeHosts" | "probeToken" | "write">;

/** Checks whether the edge answers, and whether it signs URLs for checks. */
export async function checkEdge(edgeUnderTest: EdgeUnderTest, checks: Checks): Promise<Deployment> {
  const { edge, edgeHosts, probeToken, write } = edgeUnderTest;
  const health = await call(`${edge}/-/health`);
  const edgeAheadSeconds = health.ok ? (health.value.aheadSeconds ?? 0) : 0;
  const deployment = { edge, edgeHosts, probeToken, write, edgeAheadSeconds };
  if (!health.ok || health.value.status !== 200) {
    const answer = health.ok ? `answers ${health.value.status}` : health.error;
    checks.found("edge", "edge-unreachable", `${edge}/-/health: ${answer}`);
    return { ...deployment, answers: false, probing: "off" };
  }
  checks.ok("edge", "answers");
  return { ...deployment, answers: true, probing: await checkProbing(edgeUnderTest, checks) };
}

/** Checks whether /-/probe takes our token. The request names no Pod, so nothing is signed. If the token is right, the answer is 400. */
async function checkProbing({ edge, probeToken }: EdgeUnderTest, checks: Checks): Promise<"on" | "off"> {
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
