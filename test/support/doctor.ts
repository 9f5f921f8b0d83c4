import { readFile } from "node:fs/promises";
import type { JWK } from "jose";
import { beforeAll, expect } from "vitest";
import { createDirectory } from "../../src/directory/directory.ts";
import { freshValues } from "../../src/directory/kv.ts";
import { seal } from "../../src/directory/seal.ts";
import { createIsolate } from "../../src/isolate.ts";
import { ok } from "../../src/lib/result.ts";
import { helloImage } from "../../src/local/images.ts";
import { checkDeployment, type DeploymentUnderTest } from "../../src/podctl/doctor/check-deployment.ts";
import type { Check } from "../../src/podctl/doctor/findings.ts";
import { loginAt, type User } from "../../src/podctl/target/operator.ts";
import { startProxy } from "./proxy.ts";
import { healthyRecords, type PodRecord, type Sickness, sickRecord } from "./sick-pods.ts";
import { useStack } from "./toy-stack.ts";

/** A Pod with one fault: its id, the finding by which doctor names the fault, and a function that makes the fault. */
export type Seeded = readonly [id: string, finding: string, make: () => Sickness | Promise<Sickness>];

type Written = { readonly headers?: Readonly<Record<string, string>>; readonly body?: string };
type LocalPod = "pod-a" | "pod-b";

const demo: User = { name: "demo", password: "demo" };
export const active = { revision: 1, state: "active" };
export const blobPath = /\/blobs\/sha256:/;
export const elsewhere = "http://elsewhere.test/";

export const directoryOf = (texts: ReadonlyMap<string, string>) =>
  createDirectory({
    readKv: async () => ok(freshValues(texts)),
    now: () => new Date(),
    plainHttp: "everywhere",
    parsedPods: createIsolate().parsedPods,
    parsedRecords: createIsolate().parsedRecords,
  });

export const findings = (checks: readonly Check[]) =>
  checks.flatMap((check) => (check.status === "finding" ? [`${check.pod}: ${check.finding}`] : []));

export const passed = (checks: readonly Check[], id: string) =>
  checks.filter(({ status, pod }) => status === "ok" && pod === id).map(({ check }) => check);

/** If the URL matches `path`, the proxy puts `host` into the answer's Location, in place of the Location's own host. */
export const redirectTo = (url: string | undefined, host: string, path = blobPath) =>
  path.test(url ?? "")
    ? {
        change: ({ location }: { location?: string | undefined }) =>
          location === undefined
            ? {}
            : { location: host + new URL(location).pathname.slice(1) + new URL(location).search },
      }
    : null;

/** Runs doctor's checks on a stack of two healthy toy Pods. A test adds sick Pods to them. */
export function useDoctor(sealingKeys: { readonly publicJwk: JWK; readonly privateJwk: JWK }) {
  const stack = useStack({ sealingKeys });
  const records: Partial<Record<LocalPod, PodRecord>> = {};

  /** The records that doctor reads. `put` also writes them to the edge's KV. */
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

  type Options = Partial<DeploymentUnderTest> & { readonly user?: User | null };

  async function check({ user = demo, ...options }: Options = {}): Promise<readonly Check[]> {
    const { edge, stateDir } = stack.current;
    return checkDeployment({
      directory: directoryOf(kv),
      pods: ["pod-a", "pod-b"],
      userAt: (pod, settings) => loginAt(pod, user, settings),
      edge,
      edgeHosts: [new URL(edge).hostname, new URL(edge).host],
      probeToken: await readFile(`${stateDir}/probe-token`, "utf8"),
      write: false,
      ...options,
    });
  }

  /** A Pod whose only fault is a proxy that changes the answers of its registry. */
  const onlyRegistry = async (twist: Parameters<typeof startProxy>[1]): Promise<Sickness> => ({
    registry: await startProxy(healthy("pod-b").registry, twist),
  });

  async function seedAll(rows: readonly Seeded[]): Promise<readonly string[]> {
    for (const [id, , make] of rows) {
      await put(`pod/${id}`, { ...active, ...(await sickRecord(id, healthy("pod-b"), await make(), sealingKeys)) });
    }
    return rows.map(([id]) => id);
  }

  /** Writes to the repository `<id>/probe` in the registry of pod-b, which the Pod `id` uses too. */
  async function write(id: string, method: string, path: string, init: Written = {}): Promise<void> {
    const { registry, token } = stack.current.pods["pod-b"];
    const scopes = [`repository:${id}/probe:pull,push`, "repository:globex/hello:pull"]
      .map((scope) => `&scope=${scope}`)
      .join("");
    const basic = { Authorization: `Basic ${btoa("demo:demo")}` };
    const answer = await fetch(`${token.direct}/jwt/auth?service=pod-b-registry${scopes}`, { headers: basic });
    const { token: jwt } = (await answer.json()) as { token: string };
    const headers = { ...init.headers, Authorization: `Bearer ${jwt}` };
    const written = await fetch(`${registry.direct}/v2/${id}/probe/${path}`, { ...init, method, headers });
    expect(written.status).toBe(201);
  }

  const mountProbe = (id: string) =>
    write(id, "POST", `blobs/uploads/?mount=${healthy("pod-b").probe.digest}&from=globex/hello`);

  /** Pushes the image whose layer is the probe's blob, and returns the digest of the image's config. */
  async function pushProbeImage(id: string): Promise<string> {
    const { config, manifest } = helloImage("globex");
    await mountProbe(id);
    await write(id, "POST", `blobs/uploads/?mount=${config.digest}&from=globex/hello`);
    const headers = { "Content-Type": manifest.mediaType };
    await write(id, "PUT", "manifests/1", { headers, body: manifest.bytes.toString() });
    return config.digest;
  }

  async function addOwning(id: string, sickness: Sickness): Promise<void> {
    const probe = { repository: `${id}/probe`, digest: healthy("pod-b").probe.digest };
    const record = await sickRecord(id, healthy("pod-b"), { probe, ...sickness }, sealingKeys);
    await put(`pod/${id}`, { ...active, ...record });
    await put(`route/${id}`, { pod: id, ...active });
  }

  /** Like `addOwning`, but the edge also sends the Pod a secret, which podctl does not have. */
  async function addTrusting(id: string, sickness: Sickness, secret = "only the edge knows this"): Promise<void> {
    const target = sickness.registry ?? healthy("pod-b").registry;
    const place = { pod: id, field: "trust.value", scheme: "header", target };
    const value = await seal(secret, place, sealingKeys.publicJwk);
    await addOwning(id, { trust: { kind: "header", name: "X-Edge-Secret", value }, ...sickness });
  }

  return {
    ...{ stack, kv, put, healthy, check, onlyRegistry, seedAll },
    ...{ mountProbe, pushProbeImage, addOwning, addTrusting },
  };
}
