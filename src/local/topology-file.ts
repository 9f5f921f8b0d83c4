/** `topology.example.yaml` as KV entries: placeholders filled from the running Pods, then read as podctl reads any topology. */
import { readFile } from "node:fs/promises";
import type { JWK } from "jose";
import { seal } from "../directory/seal.ts";
import { parseTopology } from "../topology/load.ts";
import { formatMistake } from "../topology/mistake.ts";
import type { Placeholders } from "../topology/placeholders.ts";
import { recordText } from "../topology/record-text.ts";
import { type Rules, topologyRecords } from "../topology/topology.ts";
import { helloImage } from "./images.ts";
import { root } from "./paths.ts";
import type { Pod } from "./pods/pod.ts";
import { StartFailure } from "./start-failure.ts";

export const exampleFile = "topology.example.yaml";
/** A stack for tests starts with the faults that a deployment must not have; podctl checks for them. */
const anyFault: Rules = { auth: "token", plainHttp: "everywhere", edgeHosts: [], seals: "unchecked" };

export async function exampleEntries(
  placeholders: Placeholders,
  edit: (text: string) => string,
): Promise<ReadonlyMap<string, string>> {
  const text = edit(await readFile(root + exampleFile, "utf8"));
  const topology = parseTopology(exampleFile, text, { placeholders, ...anyFault });
  if (!topology.ok) throw new StartFailure(topology.error.map(formatMistake).join("\n"));
  const stamp = { revision: 1, appliedAt: new Date() };
  return new Map([...topologyRecords(topology.value)].map(([key, record]) => [key, recordText(key, record, stamp)]));
}

/** Of all Pods, each name with its Pod's id before it, as in `POD_A_REGISTRY`. */
export async function topologyValues(pods: readonly Pod[], sealingKey: JWK): Promise<Placeholders> {
  const values: Record<string, string> = {};
  for (const pod of pods) {
    const id = pod.context.id.toUpperCase().replaceAll("-", "_");
    for (const [name, value] of Object.entries(await podValues(pod, sealingKey))) values[`${id}_${name}`] = value;
  }
  return values;
}

export type PodValues = Awaited<ReturnType<typeof podValues>>;

/** What a topology says of a running Pod. */
export async function podValues({ context, services }: Pod, sealingKey: JWK) {
  const { accessKeyId, secretAccessKey, bucket, id } = context;
  const sealedFor = { pod: id, field: "blobs.stores.0.credentials", scheme: "s3", target: bucket };
  return {
    REGISTRY: services.registry.url,
    TOKEN: `${services.token.url}/jwt/auth`,
    KEY: JSON.stringify(context.key.publicJwk),
    STORAGE: services.storage.url,
    STORAGE_HOST: new URL(services.storage.url).host,
    STORAGE_DIRECT_HOST: new URL(services.storage.direct).host,
    STORAGE_CREDENTIALS: await seal(JSON.stringify({ accessKeyId, secretAccessKey }), sealedFor, sealingKey),
    PROBE_DIGEST: helloImage(context.prefix).layer.digest,
  };
}
