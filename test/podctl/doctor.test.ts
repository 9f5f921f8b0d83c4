import { readFile } from "node:fs/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { createDirectory } from "../../src/directory/directory.ts";
import { freshValues } from "../../src/directory/kv.ts";
import { generateSealingKeys, seal } from "../../src/directory/seal.ts";
import { createIsolate } from "../../src/isolate.ts";
import { ok } from "../../src/lib/result.ts";
import { advice, type Check } from "../../src/podctl/doctor/check.ts";
import { type Diagnosis, diagnose } from "../../src/podctl/doctor/diagnose.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { closedOrigin, startProxy } from "../support/proxy.ts";
import { healthyRecords, type PodRecord, type Sickness, sickRecord } from "../support/sick-pods.ts";
import { useStack } from "../support/toy-stack.ts";

const sealingKeys = await generateSealingKeys();
const stack = useStack({ sealingKeys });

/** All that KV holds, as doctor reads it; the edge has the same. */
const kv = new Map<string, string>();
async function put(key: string, record: object): Promise<void> {
  const text = JSON.stringify({ v: 1, ...record });
  kv.set(key, text);
  await stack.current.putKv(key, text);
}

const directoryOf = (texts: ReadonlyMap<string, string>) =>
  createDirectory({
    readKv: async () => ok(freshValues(texts)),
    plainHttp: "allow",
    parsedPods: createIsolate().parsedPods,
  });

async function examine(options: Partial<Diagnosis> = {}): Promise<readonly Check[]> {
  const { edge, stateDir } = stack.current;
  return diagnose({
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

const findings = (checks: readonly Check[]) =>
  checks.flatMap((check) => (check.status === "finding" ? [`${check.pod}: ${check.finding}`] : []));
const passed = (checks: readonly Check[], id: string) =>
  checks.filter(({ status, pod }) => status === "ok" && pod === id).map(({ check }) => check);

let healthy: { readonly "pod-a": PodRecord; readonly "pod-b": PodRecord };
const active = { revision: 1, state: "active" };

beforeAll(async () => {
  healthy = await healthyRecords(stack.current);
  await put("directory", { pods: ["pod-a", "pod-b"], default: "pod-a", credentials: "shared", revision: 1 });
  for (const [id, record] of Object.entries(healthy)) await put(`pod/${id}`, { ...active, ...record });
  await put("route/acme", { pod: "pod-a", ...active });
  await put("route/globex", { pod: "pod-b", ...active });
});

const blobPath = /\/blobs\/sha256:/;
const elsewhere = "http://elsewhere.test/";
const onlyRegistry = async (twist: Parameters<typeof startProxy>[1]): Promise<Sickness> => ({
  registry: await startProxy(healthy["pod-b"].registry, twist),
});

/** One fault each: the finding that names it, and how it comes about. The Pods' ids are the rows' first words. */
const seeded: readonly (readonly [id: string, finding: string, make: () => Sickness | Promise<Sickness>])[] = [
  ["registry-down", "registry-unreachable", async () => ({ registry: await closedOrigin() })],
  ["registry-elsewhere", "registry-wrong", () => ({ registry: new URL(healthy["pod-b"].token).origin })],
  [
    "web-page",
    "registry-wrong",
    () => onlyRegistry(() => ({ inPlace: 200, headers: { "Content-Type": "text/html; charset=utf-8" } })),
  ],
  ["token-down", "token-unreachable", async () => ({ token: `${await closedOrigin()}/jwt/auth` })],
  ["token-elsewhere", "token-wrong", () => ({ token: `${healthy["pod-b"].token}/v1` })],
  ["other-key", "key-unknown", () => ({ keys: healthy["pod-a"].keys })],
  [
    "stolen-kid",
    "key-wrong",
    () => ({ keys: healthy["pod-a"].keys.map((key) => ({ ...key, kid: healthy["pod-b"].keys[0]?.kid ?? "" })) }),
  ],
  ["other-issuer", "issuer-wrong", () => ({ issuer: "somebody" })],
  ["other-audience", "audience-wrong", () => ({ audience: "somebody" })],
  [
    "distrustful",
    "token-refused",
    () => onlyRegistry(({ url, method }) => (method === "HEAD" && blobPath.test(url ?? "") ? { inPlace: 401 } : null)),
  ],
  [
    "fast-clock",
    "clock-skew",
    () => onlyRegistry(() => ({ change: () => ({ date: new Date(Date.now() + 600_000).toUTCString() }) })),
  ],
  ["probe-gone", "probe-missing", () => ({ probe: { ...healthy["pod-b"].probe, digest: `sha256:${"0".repeat(64)}` } })],
  ["redirect-away", "redirect-unlisted", () => onlyRegistry(({ url }) => redirectTo(url, elsewhere))],
  [
    "redirect-off",
    "redirect-off",
    async () => ({
      ...(await onlyRegistry(({ url }) => (blobPath.test(url ?? "") ? { inPlace: 200 } : null))),
      blobs: { stores: [{ scheme: "pod" }] },
    }),
  ],
  ["copied-seal", "store-sealed", () => ({ sealedFor: { pod: "pod-b" } })],
  [
    "wrong-secret",
    "store-refuses",
    () => ({ sealedFor: { secret: '{"accessKeyId":"AK","secretAccessKey":"guess"}' } }),
  ],
  ["wrong-bucket", "store-missing", () => ({ store: { bucket: "other" }, sealedFor: { target: "other" } })],
  ["wrong-prefix", "store-missing", () => ({ store: { prefix: "elsewhere" } })],
  ["legacy-root", "store-legacy-root", async () => azureStore("legacy-root", /\/registry\/\/docker\//)],
  ["no-legacy-root", "store-legacy-root", async () => azureStore("no-legacy-root", /\/registry\/docker\//, true)],
  ["azure-without-the-blob", "store-missing", async () => azureStore("azure-without-the-blob", /never/)],
  ["storage-down", "store-unreachable", async () => ({ store: { endpoint: onLocalhost(await closedOrigin()) } })],
  [
    "second-store",
    "store-unreachable",
    async () => ({
      moreStores: [{ scheme: "public", baseUrl: onLocalhost(await closedOrigin()), when: { countries: ["DE"] } }],
    }),
  ],
  [
    "storage-odd",
    "store-wrong",
    async () => ({ store: { endpoint: onLocalhost(await startProxy(elsewhere, () => ({ inPlace: 503 }))) } }),
  ],
  [
    "storage-of-another-size",
    "store-wrong",
    async () => {
      const storage = String(healthy["pod-b"].blobs.stores[0]?.["endpoint"]);
      const head = { inPlace: 200, headers: { "Content-Length": 5 } };
      const proxy = await startProxy(storage, ({ method }) => (method === "HEAD" ? head : null));
      return { store: { endpoint: onLocalhost(proxy) } };
    },
  ],
  [
    "storage-at-edge",
    "blob-host-under-edge",
    () => ({
      store: { endpoint: String(healthy["pod-b"].blobs.stores[0]?.["endpoint"]).replace("localhost", "127.0.0.1") },
    }),
  ],
];

/** An azure store that has the probe's blob below one path only. */
async function azureStore(pod: string, path: RegExp, legacyRoot = false): Promise<Sickness> {
  const place = { pod, field: "blobs.stores.0.credentials", scheme: "azure", target: "poda/registry" };
  const credentials = await seal(JSON.stringify({ accountKey: btoa("a key") }), place, sealingKeys.publicJwk);
  const found = { inPlace: 200, headers: { "Content-Length": 5 } };
  const endpoint = await startProxy(elsewhere, ({ url }) => (path.test(url ?? "") ? found : { inPlace: 404 }));
  const account = { account: "poda", container: "registry", addressing: "path" };
  const store = { scheme: "azure", endpoint: onLocalhost(endpoint), ...account, credentials };
  return { blobs: { stores: [legacyRoot ? { ...store, legacyRoot } : store] } };
}

/** As above, found by the checks that write. */
const seededForWrites: typeof seeded = [
  ["no-pushes", "push-refused", () => onlyRegistry(({ method }) => (method === "POST" ? { inPlace: 405 } : null))],
  ["no-deletes", "deletes-off", () => onlyRegistry(({ method }) => (method === "DELETE" ? { inPlace: 405 } : null))],
  [
    "lenient",
    "manifests-lenient",
    async () => ({
      ...(await onlyRegistry(({ method, url }) => {
        const taken = /\/manifests\//.test(url ?? "") && { PUT: 201, DELETE: 202 }[method ?? ""];
        return taken ? { inPlace: taken } : null;
      })),
      blobs: { proof: "manifest" },
    }),
  ],
  [
    "inner-host",
    "location-foreign",
    () => onlyRegistry(({ method, url }) => (method === "POST" ? redirectTo(url, elsewhere, /./) : null)),
  ],
];

const onLocalhost = (origin: string) => origin.replace("127.0.0.1", "localhost");
const redirectTo = (url: string | undefined, host: string, path = blobPath) =>
  path.test(url ?? "")
    ? {
        change: ({ location }: { location?: string | undefined }) =>
          location === undefined
            ? {}
            : { location: host + new URL(location).pathname.slice(1) + new URL(location).search },
      }
    : null;

async function seedAll(rows: typeof seeded): Promise<readonly string[]> {
  for (const [id, , make] of rows) {
    await put(`pod/${id}`, { ...active, ...(await sickRecord(id, healthy["pod-b"], await make(), sealingKeys)) });
  }
  return rows.map(([id]) => id);
}

test("blames nothing healthy, with the checks that write and without", async () => {
  const [reading, writing] = [await examine(), await examine({ write: true })];
  expect([findings(reading), findings(writing)]).toEqual([[], []]);
  const reads = ["blob hosts", "registry", "token", "token key", "issuer", "audience", "probe blob", "redirect"];
  expect(passed(reading, "pod-b")).toEqual([...reads, "store 0 (s3)", "clock", "through edge"]);
  expect(passed(writing, "pod-a")).toEqual(
    expect.arrayContaining(["forwarded host", "upload", "deletes", "manifests"]),
  );
});

test(`finds each of ${seeded.length} seeded faults by its name, and nothing else`, async () => {
  const pods = ["pod-a", ...(await seedAll(seeded)), "pod-b"];
  const checks = await examine({ pods });
  expect(findings(checks)).toEqual(seeded.map(([id, finding]) => `${id}: ${finding}`));
  const printed = JSON.stringify(checks);
  for (const secret of ["X-Amz-Signature", "eyJ", "guess"]) expect(printed).not.toContain(secret);
});

test(`finds each of ${seededForWrites.length} faults that only a write shows`, async () => {
  const pods = ["pod-a", ...(await seedAll(seededForWrites)), "pod-b"];
  expect(findings(await examine({ pods }))).toEqual([]);
  expect(findings(await examine({ pods, write: true }))).toEqual(
    seededForWrites.map(([id, finding]) => `${id}: ${finding}`),
  );
});

test.each([
  ["registry", "refuse", "registry-unreachable"],
  ["token", "refuse", "token-unreachable"],
  ["storage", "refuse", "store-unreachable"],
] as const)("a %s that refuses connections is one finding", async (service, mode, finding) => {
  await stack.current.setFault("pod-b", service, { mode });
  const checks = await examine();
  await stack.current.setFault("pod-b", service, { mode: "none" });
  expect(findings(checks)).toEqual([`pod-b: ${finding}`]);
});

describe("the edge", () => {
  test("that does not answer, or has another token, is blamed itself", async () => {
    expect(findings(await examine({ edge: await closedOrigin() }))).toEqual(["edge: edge-unreachable"]);
    expect(findings(await examine({ probeToken: "x".repeat(43) }))).toEqual(["edge: probe-refused"]);
    const without = await examine({ probeToken: null });
    expect(findings(without)).toEqual([]);
    expect(without).toContainEqual(expect.objectContaining({ check: "stores", status: "skipped" }));
  });

  test("whose record of a Pod is older than KV's is waited for", async () => {
    kv.set("pod/pod-b", JSON.stringify({ v: 1, ...active, ...healthy["pod-b"], revision: 2 }));
    expect(findings(await examine())).toEqual(["pod-b: edge-behind"]);
    kv.set("pod/pod-b", JSON.stringify({ v: 1, ...active, ...healthy["pod-b"] }));
  });
});

/** The probe's blob under a name of this Pod's own, in the registry of pod-b. */
async function mountProbe(id: string): Promise<void> {
  const { registry, token } = stack.current.pods["pod-b"];
  const scopes = [`repository:${id}/probe:pull,push`, "repository:globex/hello:pull"]
    .map((scope) => `&scope=${scope}`)
    .join("");
  const headers = { Authorization: `Basic ${btoa("demo:demo")}` };
  const answer = await fetch(`${token.direct}/jwt/auth?service=pod-b-registry${scopes}`, { headers });
  const { token: jwt } = (await answer.json()) as { token: string };
  const mount = `mount=${healthy["pod-b"].probe.digest}&from=globex/hello`;
  const mounted = await fetch(`${registry.direct}/v2/${id}/probe/blobs/uploads/?${mount}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${jwt}` },
  });
  expect(mounted.status).toBe(201);
}

describe("a Pod that only the edge may reach", () => {
  /** Names of its own, and a secret that podctl has not. */
  async function addTrusting(id: string, sickness: Sickness): Promise<void> {
    const value = await seal(
      "only the edge knows this",
      { pod: id, field: "trust.value", scheme: "header", target: sickness.registry ?? healthy["pod-b"].registry },
      sealingKeys.publicJwk,
    );
    const trust = { kind: "header", name: "X-Edge-Secret", value };
    const probe = { repository: `${id}/probe`, digest: healthy["pod-b"].probe.digest };
    const record = await sickRecord(id, healthy["pod-b"], { trust, probe, ...sickness }, sealingKeys);
    await put(`pod/${id}`, { ...active, ...record });
    await put(`route/${id}`, { pod: id, ...active });
  }

  test("is looked at through it: what is wrong is found there too", async () => {
    await addTrusting("trusting", {});
    await addTrusting("trusting-other-issuer", { issuer: "somebody" });
    await addTrusting("trusting-registry-down", { registry: await closedOrigin() });
    await addTrusting("trusting-token-down", { token: `${await closedOrigin()}/jwt/auth` });
    const pods = ["trusting", "trusting-other-issuer", "trusting-registry-down", "trusting-token-down"];
    for (const id of pods) await mountProbe(id);
    const checks = await examine({ pods, write: true });
    expect(findings(checks)).toEqual([
      "trusting-other-issuer: issuer-wrong",
      "trusting-registry-down: registry-unreachable",
      "trusting-token-down: token-unreachable",
    ]);
    expect(passed(checks, "trusting")).toEqual([
      "blob hosts",
      "token",
      "token key",
      "issuer",
      "audience",
      "probe blob",
      "store 0 (s3)",
      "clock",
    ]);
  });
});

test("a Pod that is well by itself and not through the edge", async () => {
  const probe = { repository: "split/probe", digest: healthy["pod-b"].probe.digest };
  const record = await sickRecord("split", healthy["pod-b"], { probe }, sealingKeys);
  await mountProbe("split");
  await put("route/split", { pod: "split", ...active });
  await put("pod/split", { ...active, ...record });
  // As if the edge alone were kept from the registry.
  await stack.current.putKv(
    "pod/split",
    JSON.stringify({ v: 1, ...active, ...record, registry: await closedOrigin() }),
  );
  expect(findings(await examine({ pods: ["split"] }))).toEqual(["split: edge-differs"]);
});

test("a record that does not parse is named, a Pod without one too", async () => {
  kv.set("pod/broken", '{"v":1}');
  const checks = await examine({ pods: ["broken", "unknown", "pod-b"] });
  expect(findings(checks)).toEqual(["broken: record-wrong", "unknown: record-wrong"]);
});

describe("credentials", () => {
  test("that a Pod refuses are the finding", async () => {
    const user = { name: "demo", password: "wrong" };
    expect(findings(await examine({ user }))).toEqual(["pod-a: credentials-refused", "pod-b: credentials-refused"]);
  });

  test("belong to the default Pod, and to others only when the operator names them", async () => {
    const shared = kv.get("directory") ?? "";
    kv.set("directory", shared.replace("shared", "own"));
    stack.current.clearSeen();
    const asked = (id: "pod-a" | "pod-b") => stack.current.seen(id, "token").map(({ authorization }) => authorization);
    expect(findings(await examine({ write: true }))).toEqual([]);
    expect([new Set(asked("pod-a")), new Set(asked("pod-b"))]).toEqual([new Set(["basic"]), new Set(["none"])]);
    await examine({ named: true, pods: ["pod-b"] });
    expect(asked("pod-b").at(-1)).toBe("basic");
    const closed = { ...healthy["pod-b"], probe: { ...healthy["pod-b"].probe, repository: "globex/private" } };
    kv.set("pod/closed", JSON.stringify({ v: 1, ...active, ...closed }));
    const checks = await examine({ pods: ["closed"], probeToken: null });
    expect(findings(checks)).toEqual([]);
    expect(checks).toContainEqual(expect.objectContaining({ check: "token", status: "skipped" }));
    kv.set("directory", shared);
  });
});

test("what was written is removed again", async () => {
  stack.current.clearSeen();
  await examine({ write: true, pods: ["pod-b"] });
  const writes = stack.current.seen("pod-b", "registry").filter(({ method }) => !["GET", "HEAD"].includes(method));
  expect(writes.map(({ method, status }) => [method, status])).toEqual([
    ["POST", 202],
    ["PUT", 201],
    ["DELETE", 202],
    ["PUT", 400],
  ]);
  for (const { path } of writes) expect(path).toContain("/v2/globex/hello/");
});

describe("a fleet that asks for no tokens", async () => {
  const pod = await startOddPod();
  const open = useStack({ env: { AUTH: "none" }, topology: asPodB(pod), seedImages: false });

  test("is asked without", async () => {
    pod.answer((response) => void response.writeHead(200, { "Content-Length": 2 }).end("{}"));
    const { "pod-b": record } = await healthyRecords(open.current);
    const streamed = { ...active, ...record, registry: pod.url, blobs: { stores: [] } };
    const texts = new Map([
      ["pod/pod-b", JSON.stringify({ v: 1, ...streamed })],
      ["route/globex", JSON.stringify({ v: 1, pod: "pod-b", ...active })],
    ]);
    const checks = await examine({
      directory: directoryOf(texts),
      pods: ["pod-b"],
      edge: open.current.edge,
      probeToken: null,
    });
    expect([findings(checks), passed(checks, "pod-b")]).toEqual([
      [],
      ["blob hosts", "registry", "probe blob", "redirect", "clock", "through edge"],
    ]);
  });
});

test("every finding says what to do", () => {
  for (const text of Object.values(advice)) expect(text.length).toBeGreaterThan(20);
});
