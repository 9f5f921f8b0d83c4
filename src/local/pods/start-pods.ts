import type { Tap } from "../taps/tap.ts";
import type { Teardown } from "../teardown.ts";
import { generateSigningKey, type SigningKey } from "../toy/token-service.ts";
import { bundleGateway, type GatewayOptions, startGateway } from "./gateway.ts";
import { joinPod, type LocalPod, type PodParts, startPod, withGateway } from "./pod.ts";
import { distributionParts, registryParts } from "./registry-pod.ts";
import { toyParts } from "./toy-pod.ts";

export type LocalPodId = "pod-a" | "pod-b";
export type PodKind = "toy" | "registry" | "distribution-v3";
export const podKinds: readonly PodKind[] = ["toy", "registry", "distribution-v3"];

export type BothPods = Readonly<Record<LocalPodId, LocalPod>>;
/** The keys of the token services, if a test brings them. With these keys, the test can sign tokens that no token service would sign. */
export type SigningKeys = Readonly<Partial<Record<LocalPodId, SigningKey>>>;

const prefixes = { "pod-a": "acme", "pod-b": "globex" } as const satisfies Record<LocalPodId, string>;

type BothParts = Readonly<Record<LocalPodId, PodParts>>;

export function bothPartsOf(
  kinds: PodKind | Readonly<Record<LocalPodId, PodKind>>,
  lenientManifests: boolean,
): BothParts {
  const kindOf = (id: LocalPodId) => (typeof kinds === "string" ? kinds : kinds[id]);
  return {
    "pod-a": podPartsOf(kindOf("pod-a"), lenientManifests),
    "pod-b": podPartsOf(kindOf("pod-b"), lenientManifests),
  };
}

function podPartsOf(kind: PodKind, lenientManifests: boolean): PodParts {
  switch (kind) {
    case "toy":
      return toyParts(lenientManifests);
    case "registry":
      return registryParts();
    case "distribution-v3":
      return distributionParts();
  }
}

type StartOptions = {
  readonly stateDir: string;
  readonly signingKeys: SigningKeys;
  readonly oneRegistry: boolean;
  readonly tokenSeconds: number | undefined;
};

export async function startPods(
  parts: BothParts,
  { stateDir, signingKeys, oneRegistry, tokenSeconds }: StartOptions,
  teardown: Teardown,
): Promise<BothPods> {
  // The keys must be extractable, because openssl makes certificates for docker-registry from them.
  const keyOf = async (id: LocalPodId) => signingKeys[id] ?? (await generateSigningKey(true));
  const [a, b] = await Promise.all([keyOf("pod-a"), keyOf("pod-b")]);
  const keys = { "pod-a": a, "pod-b": b };
  const dirOf = (id: LocalPodId) => `${stateDir}/pods/${id}`;
  const optionsOf = (id: LocalPodId) => ({ id, prefix: prefixes[id], dir: dirOf(id), key: keys[id], tokenSeconds });
  const startOne = (id: LocalPodId) => startPod(parts[id], optionsOf(id), teardown);
  if (!oneRegistry) return both(startOne("pod-a"), startOne("pod-b"));
  const first = await startPod(parts["pod-a"], { ...optionsOf("pod-a"), trusted: [a, b] }, teardown);
  return { "pod-a": first, "pod-b": await joinPod(first, optionsOf("pod-b"), teardown) };
}

/** Waits for both Pods even if one fails, so that nothing starts after the teardown has run. */
async function both(...starting: readonly [Promise<LocalPod>, Promise<LocalPod>]): Promise<BothPods> {
  const [a, b] = await Promise.allSettled(starting);
  if (a.status === "rejected") throw a.reason;
  if (b.status === "rejected") throw b.reason;
  return { "pod-a": a.value, "pod-b": b.value };
}

/** Starts a gateway for each Pod. The edge must run already, because a gateway needs the edge's address. */
export async function startGateways(
  pods: BothPods,
  { stateDir, ...options }: { readonly stateDir: string } & Omit<GatewayOptions, "program">,
  teardown: Teardown,
): Promise<BothPods> {
  const program = `${stateDir}/gateway.mjs`;
  await bundleGateway(program);
  const startOne = async (pod: LocalPod) =>
    withGateway(pod, await startGateway(pod, { program, ...options }, teardown));
  return both(startOne(pods["pod-a"]), startOne(pods["pod-b"]));
}

/** Returns null for an unknown Pod or service, and for a gateway if the stack runs without gateways. */
export function findTap(pods: BothPods, pod: string, service: string): Tap | null {
  if (pod !== "pod-a" && pod !== "pod-b") return null;
  const known = (["registry", "token", "storage", "gateway"] as const).find((name) => name === service);
  return known === undefined ? null : (pods[pod].taps[known] ?? null);
}
