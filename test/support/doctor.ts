import { readFile } from "node:fs/promises";
import type { JWK } from "jose";
import { beforeAll } from "vitest";
import { createDirectory } from "../../src/directory/directory.ts";
import { freshValues } from "../../src/directory/kv.ts";
import { createIsolate } from "../../src/isolate.ts";
import { ok } from "../../src/lib/result.ts";
import { checkDeployment, type DeploymentUnderTest } from "../../src/podctl/doctor/check-deployment.ts";
import type { Check } from "../../src/podctl/doctor/findings.ts";
import { startProxy } from "./proxy.ts";
import { healthyRecords, type PodRecord, type Sickness, sickRecord } from "./sick-pods.ts";
import { useStack } from "./toy-stack.ts";

/** A Pod with one fault: its id, the finding that names the fault, and what makes the Pod have it. */
export type Seeded = readonly [id: string, finding: string, make: () => Sickness | Promise<Sickness>];

type LocalPod = "pod-a" | "pod-b";

export const active = { revision: 1, state: "active" };
export const blobPath = /\/blobs\/sha256:/;
export const elsewhere = "http://elsewhere.test/";

export const directoryOf = (texts: ReadonlyMap<string, string>) =>
  createDirectory({
    readKv: async () => ok(freshValues(texts)),
    plainHttp: "everywhere",
    parsedPods: createIsolate().parsedPods,
    parsedRecords: createIsolate().parsedRecords,
  });

export const findings = (checks: readonly Check[]) =>
  checks.flatMap((check) => (check.status === "finding" ? [`${check.pod}: ${check.finding}`] : []));

export const passed = (checks: readonly Check[], id: string) =>
  checks.filter(({ status, pod }) => status === "ok" && pod === id).map(({ check }) => check);

/** Leads a redirect of these paths to another host. */
export const redirectTo = (url: string | undefined, host: string, path = blobPath) =>
  path.test(url ?? "")
    ? {
        change: ({ location }: { location?: string | undefined }) =>
          location === undefined
            ? {}
            : { location: host + new URL(location).pathname.slice(1) + new URL(location).search },
      }
    : null;

/** doctor's checks of a stack of two healthy toy Pods, next to which a test puts sick ones. */
export function useDoctor(sealingKeys: { readonly publicJwk: JWK; readonly privateJwk: JWK }) {
  const stack = useStack({ sealingKeys });
  const records: Partial<Record<LocalPod, PodRecord>> = {};

  /** What KV has, as doctor reads it. The edge has the same. */
  const kv = new Map<string, string>();
  async function put(key: string, record: object): Promise<void> {
    const text = JSON.stringify({ v: 1, ...record });
    kv.set(key, text);
    await stack.current.putKv(key, text);
  }

  beforeAll(async () => {
    Object.assign(records, await healthyRecords(stack.current));
    await put("directory", { pods: ["pod-a", "pod-b"], default: "pod-a", credentials: "shared", revision: 1 });
    for (const [id, record] of Object.entries(records)) await put(`pod/${id}`, { ...active, ...record });
    await put("route/acme", { pod: "pod-a", ...active });
    await put("route/globex", { pod: "pod-b", ...active });
  });

  function healthy(id: LocalPod): PodRecord {
    const record = records[id];
    if (record === undefined) throw new Error(`"${id}" has not started yet`);
    return record;
  }

  async function check(options: Partial<DeploymentUnderTest> = {}): Promise<readonly Check[]> {
    const { edge, stateDir } = stack.current;
    return checkDeployment({
      directory: directoryOf(kv),
      pods: ["pod-a", "pod-b"],
      named: false,
      user: { name: "demo", password: "demo" },
      edge,
      edgeHosts: [new URL(edge).hostname],
      probeToken: await readFile(`${stateDir}/probe-token`, "utf8"),
      write: false,
      ...options,
    });
  }

  /** A Pod that is sick only because of a proxy before its registry. */
  const onlyRegistry = async (twist: Parameters<typeof startProxy>[1]): Promise<Sickness> => ({
    registry: await startProxy(healthy("pod-b").registry, twist),
  });

  async function seedAll(rows: readonly Seeded[]): Promise<readonly string[]> {
    for (const [id, , make] of rows) {
      await put(`pod/${id}`, { ...active, ...(await sickRecord(id, healthy("pod-b"), await make(), sealingKeys)) });
    }
    return rows.map(([id]) => id);
  }

  return { stack, kv, put, healthy, check, onlyRegistry, seedAll };
}
