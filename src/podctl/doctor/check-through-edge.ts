import { answerOf, bearer, call } from "../http-call.ts";
import { checkManifestProofs, signsByManifests } from "./check-manifest-proofs.ts";
import { excludesUs, fetchToken, noLogin } from "./check-token.ts";
import type { PodWithProbe, Repository } from "./pod-under-test.ts";

/**
 * Asks the edge for the probe's blob as a client does. If podctl reaches the Pod only through the edge, earlier checks have asked the edge for this
 * blob already. So only the manifests' proofs are checked here.
 */
export async function checkThroughEdge(tested: PodWithProbe, tokens: "asks" | "open"): Promise<void> {
  const { checks, deployment, probe, whyNotThroughEdge } = tested;
  if (whyNotThroughEdge !== null) return checks.skip("through edge", whyNotThroughEdge);
  const wanted = { type: "repository", name: probe.repository, actions: ["pull"] };
  const fromEdge = { ...tested, user: tested.userAtEdge, way: "through the edge" } as const;
  const token = tokens === "open" ? null : await fetchToken(fromEdge, { service: "", wanted });
  if (token?.ok === false) {
    if (token.error.finding === "excluded") return checks.skip("through edge", token.error.text);
    const isOnlyOfLogin = fromEdge.user === null && token.error.finding === "credentials-refused";
    if (isOnlyOfLogin) return checks.skip("through edge", `${token.error.text}; ${noLogin(fromEdge)}`);
    return checks.found("through edge", "edge-differs", `a token from the edge: ${token.error.text}`);
  }
  const repository = { url: `${deployment.edge}/v2/${probe.repository}`, headers: bearer(token?.value.sent ?? null) };
  if (tested.way === "direct") await checkHead(tested, repository);
  if (checks.healthy && signsByManifests(tested.pod)) await checkManifestProofs(tested, repository);
}

async function checkHead({ checks, probe, denial }: PodWithProbe, { url, headers }: Repository): Promise<void> {
  const answer = answerOf(await call(`${url}/blobs/${probe.digest}`, { method: "HEAD", headers }));
  if (answer === 200 || answer === 307) return checks.ok("through edge", `HEAD of the probe is ${answer}`);
  if (answer === 403 && denial !== null) return checks.skip("through edge", excludesUs);
  checks.found("through edge", "edge-differs", `HEAD of the probe: ${answer}`);
}
