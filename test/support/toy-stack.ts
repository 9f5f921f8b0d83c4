import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import { type Stack, type StackOptions, startStack } from "../../src/local/stack.ts";
import { kvApiNames, kvApiPath } from "../../src/local/stack-files.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { bundleWorker } from "../../src/local/workerd/bundle-worker.ts";
import { createClient } from "./client.ts";

/** All stacks of a test process share one bundle and one pair of keys, because new ones take a quarter of a second of CPU time. */
const script = await bundleWorker();
const signingKeys = { "pod-a": await generateSigningKey(true), "pod-b": await generateSigningKey(true) };

/** A stack with toy Pods for one test file, on free ports and with its own state folder. */
export function useStack(options: StackOptions = {}): { readonly current: Stack } {
  const stateDir = mkdtempSync(join(tmpdir(), "registry-edge-"));
  const holder: { stack: Stack | null } = { stack: null };
  beforeAll(async () => {
    holder.stack = await startStack({
      edgePort: 0,
      stateDir: join(stateDir, "state"),
      script,
      signingKeys,
      ...options,
    });
  });
  afterAll(async () => {
    await holder.stack?.stop();
    rmSync(stateDir, { recursive: true, force: true });
  });
  return {
    get current() {
      if (holder.stack === null) throw new Error("the stack has not started");
      return holder.stack;
    },
  };
}

export const withoutDefault = (topology: string): string => topology.replace(/^default:.*$/m, "");

/** The topology with these members of `outage` for both Pods, instead of the example's. */
export const withOutage =
  (outage: string) =>
  (topology: string): string =>
    topology
      .replaceAll(/^ {4}outage: .*\n/gm, "")
      .replaceAll("    blobs:\n", `    outage: { ${outage} }\n    blobs:\n`);

export const onOneRegistry = {
  oneRegistry: true,
  topology: (topology: string): string => topology.replaceAll(/^( +(?:issuer|audience|bucket): )pod-b/gm, "$1pod-a"),
} satisfies StackOptions;

export const withStores =
  (podA: string, podB: string) =>
  (topology: string): string =>
    topology
      .split(/^ {6}stores:\n(?: {8}.*\n)+/m)
      .reduce((before, after, index) => `${before}      stores: ${index === 1 ? podA : podB}\n${after}`);

export async function readStackKv(
  { control }: Stack,
  keys: readonly string[],
): Promise<ReadonlyMap<string, string | null>> {
  const { account, namespace } = kvApiNames;
  const url = `${control}${kvApiPath}/accounts/${account}/storage/kv/namespaces/${namespace}/bulk/get`;
  const body = JSON.stringify({ keys, type: "text" });
  const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const { result } = (await answer.json()) as { result: { values: Record<string, string | null> } };
  return new Map(Object.entries(result.values));
}

/** Removes `depth` from the directory record, and starts a new isolate. Without a depth, the edge looks up every prefix of a name. */
export async function forgetDepth(stack: Stack): Promise<void> {
  const text = (await readStackKv(stack, ["directory"])).get("directory") ?? "";
  const { depth: _, ...record } = JSON.parse(text) as { depth: number };
  await stack.putKv("directory", JSON.stringify(record));
  await stack.restartEdge();
}

/** Ends the fault of a Pod's registry. If the edge has found the registry down, waits until the edge calls it again. */
export async function endFault(stack: Stack, pod: LocalPodId): Promise<void> {
  await stack.setFault(pod, "registry", { mode: "none" });
  const client = createClient(stack.edge);
  const name = `${pod === "pod-a" ? "acme" : "globex"}/anything`;
  const token = await client.token([`repository:${name}:pull`]);
  await expect
    // The edge answers 503 as long as it does not call the registry. The registry does not have this repository, and answers with another status.
    .poll(async () => (await client.get(`/v2/${name}/tags/list`, token)).status, { timeout: 20_000 })
    .not.toBe(503);
}

export async function countKvReads({ control }: Stack): Promise<number> {
  return ((await (await fetch(`${control}/kv`)).json()) as { reads: number }).reads;
}

/**
 * Returns a function that gives the value of a Pod's placeholder in the topology. It takes the name without the Pod: `REGISTRY` for `POD_A_REGISTRY`.
 */
export async function placeholdersOf({ stateDir }: Stack, pod: LocalPodId): Promise<(name: string) => string> {
  const text = await readFile(`${stateDir}/topology-values.json`, "utf8");
  const values = JSON.parse(text) as Readonly<Record<string, string>>;
  return (name) => values[`${pod.toUpperCase().replace("-", "_")}_${name}`] ?? "";
}
