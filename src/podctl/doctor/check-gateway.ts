import type { Pod } from "../../directory/directory.ts";
import { unknownEdge, uploadUnknown } from "../../gateway/admit.ts";
import { messageIn } from "../../oci/errors.ts";
import { grantParameter } from "../../pods/upload-grant.ts";
import { type Called, call, isHealthy } from "../http-call.ts";
import type { PodUnderTest } from "./pod-under-test.ts";

/**
 * Checks that a Pod's gateway, if it has one, answers, refuses a forged grant, opens a grant of the edge, and reaches its registry. The edge's grant
 * is for an upload that never began, so nothing is written.
 */
export async function checkGateway(tested: PodUnderTest): Promise<void> {
  const { pod, checks, clocks, probe } = tested;
  if (!pod.gateway) return;
  const { url } = pod.gateway;
  const health = await call(`${url}/-/health`);
  if (!health.ok) return checks.found("gateway", "gateway-unreachable", health.error);
  clocks.see("the gateway", health.value);
  if (!isHealthy(health.value))
    return checks.found("gateway", "gateway-wrong", `/-/health answers ${health.value.status}`);
  const upload = `/v2/${probe?.repository ?? "probe"}/blobs/uploads/doctor`;
  const forged = await call(`${url}${upload}?${grantParameter}=forged`);
  if (!forged.ok) return checks.found("gateway", "gateway-unreachable", forged.error);
  if (!isOwnRefusal(forged.value)) {
    return checks.found("gateway", "gateway-wrong", `it answers ${forged.value.status} to a forged grant`);
  }
  await checkGrant(tested);
}

async function checkGrant({ pod, checks, probe, probed, deployment }: PodUnderTest): Promise<void> {
  if (probe === null) return checks.skip("gateway", "the key was not tried, because the record has no probe");
  if (probed?.ok !== true) return checks.skip("gateway", "the key was not tried: /-/probe gives no grant for this Pod");
  const { gateway } = probed.value;
  if (gateway === undefined) return checks.found("gateway", "edge-behind", "the edge knows no gateway of this Pod");
  if ("error" in gateway) return checks.found("gateway", "gateway-sealed", gateway.error);
  const status = await call(gateway.location);
  if (!status.ok) return checks.found("gateway", "gateway-unreachable", status.error);
  if (isOwnRefusal(status.value)) {
    return checks.found("gateway", "gateway-key", "it does not open what the edge seals for it");
  }
  if (messageOf(status.value).startsWith(unknownEdge)) {
    return checks.found("gateway", "gateway-edge", `it refuses grants of the edge at ${deployment.edge}`);
  }
  if (!isOfRegistry(status.value)) {
    return checks.found("gateway", "gateway-registry", `it answers ${status.value.status} for its registry`);
  }
  checks.ok("gateway", `opens the edge's grants, refuses a forged one, reaches its registry; ${whoGoes(pod)}`);
}

const whoGoes = ({ gateway }: Pod): string =>
  gateway?.operator === "fleet"
    ? "the fleet runs it, so every client but oras and Helm goes to it"
    : "the Pod's operator runs it, so skopeo, podman, buildah, Jib and unknown clients stay on the edge and its body limit";

/** Whether the gateway itself refused the grant. A registry also answers 404 to an upload that it does not know, but with another message. */
const isOwnRefusal = (answer: Called): boolean => messageOf(answer) === uploadUnknown.message;

/** Whether a registry answered: with a 401, or with an error in OCI form, because doctor's upload does not exist. */
const isOfRegistry = ({ status, text }: Called): boolean =>
  status === 401 || (status < 500 && messageIn(text) !== null);

const messageOf = ({ status, text }: Called): string => (status === 404 ? (messageIn(text) ?? "") : "");
