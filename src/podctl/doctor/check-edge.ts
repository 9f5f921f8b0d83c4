import { parseChallenge } from "../../oci/challenge.ts";
import { answerOf, bearer, call, isHealthy } from "../http-call.ts";
import type { Checks } from "./findings.ts";
import type { Deployment } from "./pod-under-test.ts";

export type EdgeUnderTest = Pick<Deployment, "edge" | "edgeHosts" | "probeToken" | "write">;

export async function checkEdge(edgeUnderTest: EdgeUnderTest, checks: Checks): Promise<Deployment> {
  const { edge, probeToken, write } = edgeUnderTest;
  // The operator may have named the edge by `--edge`, so its host need not be among the deployment's.
  const edgeHosts = [...edgeUnderTest.edgeHosts, new URL(edge).hostname];
  const health = await call(`${edge}/-/health`);
  const edgeAheadSeconds = health.ok ? (health.value.aheadSeconds ?? 0) : 0;
  const deployment = { edge, edgeHosts, probeToken, write, edgeAheadSeconds };
  if (!health.ok || !isHealthy(health.value)) {
    const answer = health.ok ? `answers ${health.value.status}, and not as the edge does` : health.error;
    checks.found("edge", "edge-unreachable", `${edge}/-/health: ${answer}`);
    return { ...deployment, realm: null, answers: false, probing: "off" };
  }
  const ping = await call(`${edge}/v2/`);
  // The edge answers this request without KV or a Pod, so a 500 shows that the edge itself is not in order.
  if (ping.ok && ping.value.status === 500) {
    checks.found("edge", "edge-wrong", `${edge}/v2/ answers 500`);
    return { ...deployment, realm: null, answers: false, probing: "off" };
  }
  checks.ok("edge", "answers");
  const realm = ping.ok ? (parseChallenge(ping.value.headers.get("WWW-Authenticate"))?.realm ?? null) : null;
  if (realm !== null) await checkRealm(edge, realm, checks);
  return { ...deployment, realm, answers: true, probing: await checkProbing(edgeUnderTest, checks) };
}

/**
 * Checks whether the realm, where clients get their tokens, leads to the edge's token endpoint. If it led to a Pod's token service, this service
 * would get the passwords of all users.
 */
async function checkRealm(edge: string, realm: string, checks: Checks): Promise<void> {
  if (!URL.canParse(realm) || realm === `${edge}/jwt/auth`) return;
  // The edge refuses a wrong `service` without asking a Pod. If the realm answers with the same refusal, it leads to the edge.
  const ask = (url: string) => call(`${url}?service=dependency_proxy`);
  const [own, there] = await Promise.all([ask(`${edge}/jwt/auth`), ask(realm)]);
  const isEdge = own.ok && there.ok && there.value.status === own.value.status && there.value.text === own.value.text;
  if (isEdge) return checks.ok("realm", realm);
  const answer = there.ok ? `answers ${there.value.status}, and not as the edge does` : there.error;
  checks.found("realm", "realm-elsewhere", `${realm}: ${answer}`);
}

/** The request to /-/probe names no Pod, so the edge signs nothing. */
async function checkProbing({ edge, probeToken }: EdgeUnderTest, checks: Checks): Promise<"on" | "off"> {
  if (probeToken === null) {
    checks.skip("probe", "podctl has no PROBE_TOKEN: set PODCTL_PROBE_TOKEN to the Worker's");
    return "off";
  }
  const answer = answerOf(await call(`${edge}/-/probe`, { headers: bearer(probeToken) }));
  if (answer === 200) {
    checks.ok("probe", "answers");
    return "on";
  }
  if (answer === 401) checks.found("probe", "probe-refused", "/-/probe refuses podctl's token");
  else checks.found("probe", "probe-off", `/-/probe answers ${answer}`);
  return "off";
}
