/** `topology.example.yaml` as KV entries: placeholders filled from the running Pods, then read like any topology. */
import { readFile } from "node:fs/promises";
import type { JWK } from "jose";
import { parse } from "yaml";
import { seal } from "../directory/seal.ts";
import { topologyEntries } from "../directory/topology.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { helloImage } from "./images.ts";
import { root } from "./paths.ts";
import type { Pod } from "./pod.ts";
import { StartFailure } from "./start-failure.ts";

/** Name to text, as they stand in the file. */
export type TopologyValues = Readonly<Record<string, string>>;

export async function loadTopology(
  values: TopologyValues,
  edit: (text: string) => string,
): Promise<ReadonlyMap<string, string>> {
  const template = await readFile(`${root}topology.example.yaml`, "utf8");
  const text = fillPlaceholders(edit(template), values);
  if (!text.ok) throw new StartFailure(text.error);
  const entries = topologyEntries(parse(text.value), new Date());
  if (!entries.ok) throw new StartFailure(`topology.example.yaml: ${entries.error.join("; ")}`);
  return entries.value;
}

export function fillPlaceholders(text: string, values: TopologyValues): Result<string, string> {
  const unknown = new Set<string>();
  const filled = text.replace(/\$\{([A-Z0-9_]+)\}/g, (placeholder, name: string) => {
    const value = values[name];
    if (value === undefined) unknown.add(placeholder);
    return value ?? placeholder;
  });
  return unknown.size === 0 ? ok(filled) : err(`topology: no value for ${[...unknown].join(", ")}`);
}

export async function topologyValues(pods: readonly Pod[], sealingKey: JWK): Promise<TopologyValues> {
  const values: Record<string, string> = {};
  for (const { context, services } of pods) {
    const name = context.id.toUpperCase().replaceAll("-", "_");
    const { accessKeyId, secretAccessKey, bucket, id } = context;
    const sealedFor = { pod: id, field: "blobs.stores.0.credentials", scheme: "s3", target: bucket };
    values[`${name}_REGISTRY`] = services.registry.url;
    values[`${name}_TOKEN`] = `${services.token.url}/jwt/auth`;
    values[`${name}_KEY`] = JSON.stringify(context.key.publicJwk);
    values[`${name}_STORAGE`] = services.storage.url;
    values[`${name}_STORAGE_HOST`] = new URL(services.storage.url).host;
    values[`${name}_STORAGE_DIRECT_HOST`] = new URL(services.storage.direct).host;
    values[`${name}_STORAGE_CREDENTIALS`] = await seal(
      JSON.stringify({ accessKeyId, secretAccessKey }),
      sealedFor,
      sealingKey,
    );
    values[`${name}_PROBE_DIGEST`] = helloImage(context.prefix).layer.digest;
  }
  return values;
}
