import { askProbe } from "./check-stores.ts";
import type { PodUnderTest } from "./pod-under-test.ts";

/** Checks that the edge can send the secret of `trust`. False if it cannot: then it sends no request to the registry, and more checks are useless. */
export async function checkTrust({ pod, checks, probe, deployment }: PodUnderTest): Promise<boolean> {
  if (pod.trust === undefined || probe === null || deployment.probing === "off") return true;
  const probed = await askProbe(deployment, pod);
  // If the probe fails, `checkStores` reports it, but only when there are stores to check.
  if (!probed.ok || probed.value.trust === undefined) return true;
  checks.found("trust", "trust-sealed", probed.value.trust.error);
  return false;
}
