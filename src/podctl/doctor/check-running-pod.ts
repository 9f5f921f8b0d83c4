import { ok } from "../../lib/result.ts";
import { checkGateway } from "./check-gateway.ts";
import { signsByManifests } from "./check-manifest-proofs.ts";
import { checkProbeBlob, checkRegistry } from "./check-registry.ts";
import { checkBlobHosts, checkStores } from "./check-stores.ts";
import { checkThroughEdge } from "./check-through-edge.ts";
import { checkKeys, checkToken, fetchToken, noLogin, type TokenFailure } from "./check-token.ts";
import { checkWrites } from "./check-writes.ts";
import type { PodUnderTest, PodWithProbe } from "./pod-under-test.ts";

/** After a fault, we skip the checks that would only show the same fault again, so that one fault is one finding. */
export async function checkRunningPod(tested: PodUnderTest): Promise<void> {
  const { pod, checks, clocks, probe, probed } = tested;
  if (pod.state === "down") return checks.skip("all", "the Pod is recorded as down");
  checkKeys(tested);
  checkBlobHosts(tested);
  // Without the secret of `trust`, the edge sends no request to the registry, so more checks are useless.
  const trust = probed?.ok === true ? probed.value.trust : undefined;
  if (trust !== undefined) return checks.found("trust", "trust-sealed", trust.error);
  const found = await checkServices(tested);
  if (probed?.ok === false) checks.found("probe", probed.error.finding, probed.error.text);
  await checkGateway(tested);
  if (probe === null) checks.skip("stores", "the record has no probe");
  // If the registry lacks the probe's blob, its storage need not have the blob either, so we do not check the stores.
  else if (found !== "missing") await checkStores({ ...tested, probe });
  clocks.report(checks);
  if (probe === null || !checks.healthy || found === "unknown") return;
  if (tested.way === "through the edge" && !signsByManifests(pod)) return;
  await checkThroughEdge({ ...tested, probe }, found === "there without a token" ? "open" : "asks");
}

/** Whether the Pod has the probe's blob. `unknown`: podctl did not ask for the blob. */
type Found = "there" | "there without a token" | "missing" | "unknown";

async function checkServices(tested: PodUnderTest): Promise<Found> {
  const { pod, checks, probe, way, whyNotThroughEdge } = tested;
  const registry = way === "direct" ? await checkRegistry(tested) : null;
  if (way === "direct" && registry === null) return "unknown";
  if (probe === null) {
    checks.skip("token", "the record has no probe: a repository and digest for checks");
    return "unknown";
  }
  if (way === "through the edge" && whyNotThroughEdge !== null) {
    checks.skip("token", `only the edge reaches this Pod: ${whyNotThroughEdge}`);
    return "unknown";
  }
  const service = registry?.kind === "asks" ? registry.service : pod.audience;
  if (service !== pod.audience) {
    checks.found("audience", "audience-wrong", `the registry wants "${service}", the record says "${pod.audience}"`);
  }
  const fetchFor: FetchFor = (actions) =>
    fetchToken(tested, { service, wanted: { type: "repository", name: probe.repository, actions } });
  return checkWithProbe({ ...tested, probe }, registry?.kind === "open" ? null : fetchFor, service !== pod.audience);
}

/** Fetches a token for these actions on the probe repository. */
type FetchFor = (actions: readonly string[]) => ReturnType<typeof fetchToken>;

/** `fetchFor` is null if the registry asks for no token. */
async function checkWithProbe(
  tested: PodWithProbe,
  fetchFor: FetchFor | null,
  isAudienceReported: boolean,
): Promise<Found> {
  const { pod, checks, way, deployment } = tested;
  const token = fetchFor === null ? ok(null) : await fetchFor(["pull"]);
  if (!token.ok) {
    reportNoToken(tested, "token", token.error);
    return "unknown";
  }
  if (token.value !== null) {
    const issuer = new URL(way === "direct" ? pod.token : deployment.edge).host;
    const anonymous = tested.user === null ? `, to a request without a login: ${noLogin(tested)}` : "";
    checks.ok("token", `issued by ${issuer}${anonymous}`);
    await checkToken(tested, token.value.jwt, isAudienceReported);
  }
  // If a check has found a fault, such as a wrong key of the token, the edge may refuse the token. So we do not ask the edge for the blob.
  if (way === "through the edge" && !checks.healthy) return "unknown";
  const isThere = await checkProbeBlob(tested, token.value?.sent ?? null);
  if (deployment.write) await checkWritesWith(tested, fetchFor);
  if (!isThere) return "missing";
  return token.value === null ? "there without a token" : "there";
}

function reportNoToken(tested: PodUnderTest, check: string, { finding, text }: TokenFailure): void {
  const { checks, user } = tested;
  // A healthy Pod may refuse anonymous requests. So if podctl has no login for the Pod, a refusal is not a finding.
  if (user === null && finding === "credentials-refused") checks.skip(check, `${text}; ${noLogin(tested)}`);
  else if (finding === "excluded") checks.skip(check, text);
  else checks.found(check, finding, text);
}

async function checkWritesWith(tested: PodWithProbe, fetchFor: FetchFor | null): Promise<void> {
  if (tested.way !== "direct") return tested.checks.skip("writes", "only the edge reaches this Pod");
  // The registry may be read-only because it collects garbage, and a push could then lose blobs.
  if (tested.pod.state === "read-only") return tested.checks.skip("writes", "the Pod is recorded as read-only");
  const token = await fetchFor?.(["pull", "push", "delete"]);
  if (token?.ok === false) return reportNoToken(tested, "writes", token.error);
  await checkWrites(tested, token?.value.sent ?? null);
}
