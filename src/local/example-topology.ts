/** Turns `topology.example.yaml` into KV entries, with the values of the running Pods in place of its placeholders. */
import { readFile } from "node:fs/promises";
import type { JWK } from "jose";
import { seal } from "../directory/seal.ts";
import { parseTopology } from "../topology/load.ts";
import { formatMistake } from "../topology/mistake.ts";
import type { Placeholders } from "../topology/placeholders.ts";
import { recordText } from "../topology/record-text.ts";
import { type Rules, topologyRecords } from "../topology/topology.ts";
import { helloImage } from "./images.ts";
import { exampleFile, root } from "./paths.ts";
import type { LocalGateway } from "./pods/gateway.ts";
import type { LocalPod } from "./pods/pod.ts";
import { StartFailure } from "./start-failure.ts";

/** These rules switch off podctl's checks, because tests start stacks with mistakes that a deployment must not have. */
const anyMistake: Rules = { auth: "token", plainHttp: "everywhere", edgeHosts: [], realm: null, seals: "unchecked" };

export async function exampleEntries(
  placeholders: Placeholders,
  edit: (text: string) => string,
): Promise<ReadonlyMap<string, string>> {
  const text = edit(await readFile(root + exampleFile, "utf8"));
  const topology = parseTopology(exampleFile, text, { placeholders, ...anyMistake });
  if (!topology.ok) throw new StartFailure(topology.error.map(formatMistake).join("\n"));
  const stamp = { revision: 1, appliedAt: new Date() };
  return new Map([...topologyRecords(topology.value)].map(([key, record]) => [key, recordText(key, record, stamp)]));
}

/** A placeholder's name begins with the id of its Pod, as in `POD_A_REGISTRY`. */
export async function topologyValues(pods: readonly LocalPod[], sealingKey: JWK): Promise<Placeholders> {
  const values: Record<string, string> = {};
  for (const pod of pods) {
    const id = pod.context.id.toUpperCase().replaceAll("-", "_");
    for (const [name, value] of Object.entries(await podValues(pod, sealingKey))) values[`${id}_${name}`] = value;
  }
  return values;
}

export type PodValues = Awaited<ReturnType<typeof podValues>>;

export async function podValues({ context, services, gateway }: LocalPod, sealingKey: JWK) {
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
    GATEWAY: JSON.stringify(gateway === undefined ? null : await gatewayValue(id, gateway, sealingKey)),
    PROBE_DIGEST: helloImage(context.prefix).layer.digest,
  };
}

async function gatewayValue(pod: string, { tap: { url }, key, operator }: LocalGateway, sealingKey: JWK) {
  const sealed = await seal(key, { pod, field: "gateway.key", scheme: "gateway", target: url }, sealingKey);
  return { url, key: sealed, operator };
}
