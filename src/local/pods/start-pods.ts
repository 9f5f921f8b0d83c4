/** The two Pods of the stack, of one kind, and their taps by name. */

import type { Tap } from "../taps/tap.ts";
import type { Teardown } from "../teardown.ts";
import { generateSigningKey } from "../toy/token-service.ts";
import type { PodId, StackOptions } from "../types.ts";
import type { Watchdog } from "../watchdog.ts";
import { type Pod, type PodParts, startPod } from "./pod.ts";
import { distributionParts, registryParts } from "./registry.ts";
import { toyParts } from "./toy.ts";

export type Pods = Readonly<Record<PodId, Pod>>;

const prefixes = { "pod-a": "acme", "pod-b": "globex" } as const satisfies Record<PodId, string>;

export function partsOf({ pods: kind = "toy", lenientManifests = false }: StackOptions): PodParts {
  switch (kind) {
    case "toy":
      return toyParts(lenientManifests);
    case "registry":
      return registryParts();
    case "distribution-v3":
      return distributionParts();
  }
}

export async function startPods(
  parts: PodParts,
  options: {
    readonly stateDir: string;
    readonly watchdog: Watchdog;
    readonly teardown: Teardown;
    readonly signingKeys: NonNullable<StackOptions["signingKeys"]>;
  },
): Promise<Pods> {
  const { stateDir, watchdog, teardown, signingKeys } = options;
  const startOne = async (id: PodId) => {
    // docker-registry wants it as a certificate, which is signed outside of this process.
    const key = signingKeys[id] ?? (await generateSigningKey(true));
    return startPod(parts, { id, prefix: prefixes[id], dir: `${stateDir}/pods/${id}`, watchdog, key }, teardown);
  };
  // Settled, so that a failure of one leaves nothing of the other half started behind the teardown's back.
  const [a, b] = await Promise.allSettled([startOne("pod-a"), startOne("pod-b")]);
  if (a.status === "rejected") throw a.reason;
  if (b.status === "rejected") throw b.reason;
  return { "pod-a": a.value, "pod-b": b.value };
}

export function findTap(pods: Pods, pod: string, service: string): Tap | null {
  if (pod !== "pod-a" && pod !== "pod-b") return null;
  if (service !== "registry" && service !== "token" && service !== "storage") return null;
  return pods[pod].taps[service];
}
