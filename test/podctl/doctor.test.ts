import { readFile } from "node:fs/promises";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { generateSealingKeys } from "../../src/directory/seal.ts";
import { privateImage } from "../../src/local/images.ts";
import { freePort } from "../../src/local/ports.ts";
import type { Check } from "../../src/podctl/doctor/findings.ts";
import {
  active,
  blobPath,
  directoryOf,
  elsewhere,
  findings,
  passed,
  redirectTo,
  type Seeded,
  useDoctor,
} from "../support/doctor.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { closedOrigin, startProxy } from "../support/proxy.ts";
import { azureStore, healthyRecords, type Sickness } from "../support/sick-pods.ts";
import { useStack } from "../support/toy-stack.ts";

const sealingKeys = await generateSealingKeys();
const { stack, kv, check, healthy, seedAll, onlyRegistry, mountProbe, addOwning } = useDoctor(sealingKeys);

const [belowRoot, belowLegacyRoot] = [/\/registry\/docker\//, /\/registry\/\/docker\//];

const seeded: readonly Seeded[] = [
  ["registry-down", "registry-unreachable", async () => ({ registry: closedOrigin })],
  ["registry-elsewhere", "registry-wrong", () => ({ registry: new URL(healthy("pod-b").token).origin })],
  ["the-edge", "registry-wrong", () => ({ registry: stack.current.edge })],
  [
    "web-page",
    "registry-wrong",
    () => onlyRegistry(() => ({ inPlace: 200, headers: { "Content-Type": "text/html; charset=utf-8" } })),
  ],
  ["token-down", "token-unreachable", async () => ({ token: `${closedOrigin}/jwt/auth` })],
  ["token-elsewhere", "token-wrong", () => ({ token: `${healthy("pod-b").token}/v1` })],
  ["other-key", "key-unknown", () => ({ keys: healthy("pod-a").keys })],
  [
    "stolen-kid",
    "key-wrong",
    () => ({ keys: healthy("pod-a").keys.map((key) => ({ ...key, kid: healthy("pod-b").keys[0]?.kid ?? "" })) }),
  ],
  ["odd-exponent", "key-unusable", () => ({ keys: healthy("pod-b").keys.map((key) => ({ ...key, e: "BQ" })) })],
  ["other-issuer", "issuer-wrong", () => ({ issuer: "somebody" })],
  ["other-audience", "audience-wrong", () => ({ audience: "somebody" })],
  [
    "distrustful",
    "token-refused",
    () => onlyRegistry(({ url, method }) => (method === "HEAD" && blobPath.test(url ?? "") ? { inPlace: 401 } : null)),
  ],
  [
    "other-digest",
    "registry-wrong",
    () =>
      onlyRegistry(({ url, method }) =>
        method === "HEAD" && blobPath.test(url ?? "")
          ? { inPlace: 200, headers: { "Docker-Content-Digest": `sha256:${"1".repeat(64)}` } }
          : null,
      ),
  ],
  [
    "fast-clock",
    "clock-skew",
    () => onlyRegistry(() => ({ change: () => ({ date: new Date(Date.now() + 600_000).toUTCString() }) })),
  ],
  ["probe-gone", "probe-missing", () => ({ probe: { ...healthy("pod-b").probe, digest: `sha256:${"0".repeat(64)}` } })],
  ["redirect-away", "redirect-unlisted", () => onlyRegistry(({ url }) => redirectTo(url, elsewhere))],
  [
    "redirect-off",
    "redirect-off",
    async () => {
      const named = { "Docker-Content-Digest": healthy("pod-b").probe.digest };
      return {
        ...(await onlyRegistry(({ url }) => (blobPath.test(url ?? "") ? { inPlace: 200, headers: named } : null))),
        blobs: { stores: [{ scheme: "pod" }] },
      };
    },
  ],
  ["copied-seal", "store-sealed", () => ({ sealedFor: { pod: "pod-b" } })],
  [
    "wrong-secret",
    "store-refuses",
    () => ({ sealedFor: { secret: '{"accessKeyId":"AK","secretAccessKey":"guess"}' } }),
  ],
  ["wrong-bucket", "store-missing", () => ({ store: { bucket: "other" }, sealedFor: { target: "other" } })],
  ["wrong-prefix", "store-missing", () => ({ store: { prefix: "elsewhere" } })],
  ["legacy-root", "store-legacy-root", () => azureStore({ pod: "legacy-root", path: belowLegacyRoot }, sealingKeys)],
  [
    "no-legacy-root",
    "store-legacy-root",
    () => azureStore({ pod: "no-legacy-root", path: belowRoot, legacyRoot: true }, sealingKeys),
  ],
  [
    "azure-without-the-blob",
    "store-missing",
    () => azureStore({ pod: "azure-without-the-blob", path: /never/ }, sealingKeys),
  ],
  ["storage-down", "store-unreachable", async () => ({ store: { endpoint: onLocalhost(closedOrigin) } })],
  [
    "second-store",
    "store-unreachable",
    async () => ({
      moreStores: [{ scheme: "public", baseUrl: onLocalhost(closedOrigin), when: { countries: ["DE"] } }],
    }),
  ],
  [
    "storage-odd",
    "store-wrong",
    async () => ({ store: { endpoint: onLocalhost(await startProxy(elsewhere, () => ({ inPlace: 503 }))) } }),
  ],
  ["other-region", "store-region", () => s3Answers(400, "AuthorizationQueryParametersError")],
  ["bucket-elsewhere", "store-region", () => s3Answers(301, "PermanentRedirect")],
  ["may-not-read", "store-refuses", () => s3Answers(403, "AccessDenied")],
  [
    "storage-of-another-size",
    "store-wrong",
    async () => {
      const storage = String(healthy("pod-b").blobs.stores[0]?.["endpoint"]);
      const head = { inPlace: 200, headers: { "Content-Length": 5 } };
      const proxy = await startProxy(storage, ({ method }) => (method === "HEAD" ? head : null));
      return { store: { endpoint: onLocalhost(proxy) } };
    },
  ],
  [
    "storage-without-sizes",
    "store-wrong",
    async () => {
      const withoutSize = { inPlace: 200, headers: { "Transfer-Encoding": "chunked" } };
      return { store: { endpoint: onLocalhost(await startProxy(elsewhere, () => withoutSize)) } };
    },
  ],
  [
    "storage-at-edge",
    "blob-host-under-edge",
    () => ({
      store: { endpoint: String(healthy("pod-b").blobs.stores[0]?.["endpoint"]).replace("localhost", "127.0.0.1") },
    }),
  ],
];

async function s3Answers(status: number, code: string): Promise<Sickness> {
  const answer = { inPlace: status, body: `<Error><Code>${code}</Code></Error>` };
  return { store: { endpoint: onLocalhost(await startProxy(elsewhere, () => answer)) } };
}

const onLocalhost = (origin: string) => origin.replace("127.0.0.1", "localhost");
test("doctor finds nothing wrong with healthy Pods, with the checks that write and without them", async () => {
  const [reading, writing] = [await check(), await check({ write: true })];
  expect([findings(reading), findings(writing)]).toEqual([[], []]);
  const reads = ["blob hosts", "registry", "token", "token key", "issuer", "audience", "probe blob", "redirect"];
  expect(passed(reading, "pod-b")).toEqual([...reads, "store 0 (s3)", "clock", "through edge"]);
  expect(passed(writing, "pod-a")).toEqual(
    expect.arrayContaining(["forwarded host", "upload", "deletes", "manifests"]),
  );
});

test(`doctor finds each of ${seeded.length} seeded faults by its name, and nothing else`, async () => {
  const pods = ["pod-a", ...(await seedAll(seeded)), "pod-b"];
  const checks = await check({ pods });
  expect(findings(checks)).toEqual(seeded.map(([id, finding]) => `${id}: ${finding}`));
  const printed = JSON.stringify(checks);
  expect(printed).toContain("GET says no size, HEAD says no size");
  for (const secret of ["X-Amz-Signature", "eyJ", "guess"]) expect(printed).not.toContain(secret);
});

test("a CDN that answers from its cache, with the time at which its storage has answered, has the right clock", async () => {
  const headers = { Date: new Date(Date.now() - 3_600_000).toUTCString(), Age: "3600", "Content-Length": 5 };
  const cdn = await startProxy(elsewhere, ({ method }) => ({
    ...{ inPlace: 200, headers },
    ...(method === "GET" && { body: "bytes" }),
  }));
  const pods = await seedAll([["cached", "clock-skew", () => ({ store: { endpoint: onLocalhost(cdn) } })]]);
  const checks = await check({ pods });
  expect([findings(checks), passed(checks, "cached")]).toEqual([[], expect.arrayContaining(["store 0 (s3)", "clock"])]);
});

test.each([
  ["registry", "refuse", "registry-unreachable"],
  ["token", "refuse", "token-unreachable"],
  ["storage", "refuse", "store-unreachable"],
] as const)("doctor reports a %s that refuses connections as one finding", async (service, mode, finding) => {
  await stack.current.setFault("pod-b", service, { mode });
  const checks = await check();
  await stack.current.setFault("pod-b", service, { mode: "none" });
  expect(findings(checks)).toEqual([`pod-b: ${finding}`]);
});

describe("doctor reports an edge", () => {
  test("that does not answer or has another probe token", async () => {
    expect(findings(await check({ edge: closedOrigin }))).toEqual(["edge: edge-unreachable"]);
    expect(findings(await check({ probeToken: "x".repeat(43) }))).toEqual(["edge: probe-refused"]);
    const without = await check({ probeToken: null });
    expect(findings(without)).toEqual([]);
    expect(without).toContainEqual(expect.objectContaining({ check: "stores", status: "skipped" }));
  });

  test("in whose place a server answers every URL with 200 and a page", async () => {
    const page = await startProxy(elsewhere, () => ({ inPlace: 200, headers: { "Content-Type": "text/html" } }));
    const [first] = await check({ edge: page, pods: [] });
    expect(first).toMatchObject({
      finding: "edge-unreachable",
      text: `${page}/-/health: answers 200, and not as the edge does`,
    });
  });

  const misconfigured = useStack({ env: { CORS_ORIGINS: "https://ui.example.com/" }, seedImages: false });
  test("that answers 500 because a variable is wrong, and does not report the same fault again", async () => {
    const probeToken = await readFile(`${misconfigured.current.stateDir}/probe-token`, "utf8");
    expect(findings(await check({ edge: misconfigured.current.edge, probeToken }))).toEqual(["edge: edge-wrong"]);
  });

  test("whose record of a Pod is older than KV's, and does not report the Pod's stores", async () => {
    kv.set("pod/pod-b", JSON.stringify({ v: 1, ...active, ...healthy("pod-b"), revision: 2 }));
    expect(findings(await check())).toEqual(["pod-b: edge-behind"]);
    kv.set("pod/pod-b", JSON.stringify({ v: 1, ...active, ...healthy("pod-b") }));
  });
});

describe("doctor in a fleet whose realm is a path of the edge", async () => {
  const edgePort = await freePort();
  const odd = useStack({ edgePort, env: { REALM: `http://127.0.0.1:${edgePort}/auth` }, seedImages: false });

  test("finds that this path is not the token endpoint's", async () => {
    const probeToken = await readFile(`${odd.current.stateDir}/probe-token`, "utf8");
    const checks = await check({ directory: directoryOf(new Map()), pods: [], edge: odd.current.edge, probeToken });
    expect(findings(checks)).toEqual(["edge: realm-elsewhere"]);
  });
});

describe("doctor in a fleet whose clients get their tokens from another host", async () => {
  const host = await startOddPod();
  const routed = useStack({ env: { REALM: `${host.url}/jwt/auth` }, seedImages: false });
  const checkRouted = async () => {
    const probeToken = await readFile(`${routed.current.stateDir}/probe-token`, "utf8");
    return check({ directory: directoryOf(new Map()), pods: [], edge: routed.current.edge, probeToken });
  };

  test("finds that this host answers by itself", async () => {
    host.answer((response) => void response.writeHead(200).end('{"token":"of the host"}'));
    expect(findings(await checkRouted())).toEqual(["edge: realm-elsewhere"]);
    host.answer((response) => void response.destroy());
    expect(findings(await checkRouted())).toEqual(["edge: realm-elsewhere"]);
  });

  test("is content if the host's path leads to the edge, and shows no Pod a password", async () => {
    host.answer(async (response, { path, headers }) => {
      expect(headers.authorization).toBeUndefined();
      const answer = await fetch(routed.current.edge + path);
      response.writeHead(answer.status).end(await answer.text());
    });
    const checks = await checkRouted();
    expect([findings(checks), passed(checks, "edge")]).toEqual([[], ["edge", "realm", "probe"]]);
  });
});

test("doctor finds that a Pod's token service is the edge's own, and does not ask it, because the edge would ask itself", async () => {
  const token = `${stack.current.edge}/jwt/auth`;
  await addOwning("token-at-realm", { token, audience: "pod-b-registry" });
  const checks = await check({ pods: ["token-at-realm"], edgeHosts: [] });
  expect(findings(checks)).toEqual(["token-at-realm: token-wrong"]);
  expect(JSON.stringify(checks)).toContain(`${token} is REALM, where the edge itself answers`);
});

test("doctor names a Pod whose record does not parse or is missing", async () => {
  kv.set("pod/broken", '{"v":1}');
  const checks = await check({ pods: ["broken", "unknown", "pod-b"] });
  expect(findings(checks)).toEqual(["broken: record-wrong", "unknown: record-wrong"]);
});

test("doctor names the assignment that keeps the edge from finding the probe's Pod", async () => {
  await addOwning("unreadable", {});
  await mountProbe("unreadable");
  kv.set("route/unreadable", '{"pod":"unreadable","state":"active"}');
  const checks = await check({ pods: ["unreadable"] });
  expect(findings(checks)).toEqual(["unreadable: record-wrong"]);
  const text = expect.stringContaining('record "route/unreadable" has no "v"');
  expect(checks).toContainEqual(expect.objectContaining({ check: "assignment", text }));
});

describe("doctor with credentials", () => {
  test("reports that a Pod refuses them", async () => {
    const user = { name: "demo", password: "wrong" };
    expect(findings(await check({ user }))).toEqual(["pod-a: credentials-refused", "pod-b: credentials-refused"]);
  });

  test("reports that the user may only read, but only with the checks that write", async () => {
    const user = { name: "reader", password: "reader" };
    expect(findings(await check({ user }))).toEqual([]);
    const written = await check({ user, write: true });
    expect(findings(written)).toEqual(["pod-a: credentials-refused", "pod-b: credentials-refused"]);
    expect(written).toContainEqual(
      expect.objectContaining({ check: "writes", text: 'user "reader" may not pull, push, delete "acme/hello"' }),
    );
  });

  describe("and `credentials: own`", () => {
    beforeEach(() => {
      const text = kv.get("directory") ?? "";
      kv.set("directory", text.replace("shared", "own"));
      stack.current.clearSeen();
      return () => {
        kv.set("directory", text);
        vi.unstubAllEnvs();
      };
    });
    const asked = (id: "pod-a" | "pod-b") => stack.current.seen(id, "token").map(({ authorization }) => authorization);
    const tokenCheck = (checks: readonly Check[]) => checks.find(({ check: name }) => name === "token");
    const own = "set PODCTL_USER_POD_B and PODCTL_PASSWORD_POD_B";
    /** Gives Pod B a probe that only its users may read. */
    const closeProbe = async () => {
      const { repository, layer } = privateImage("globex");
      const closed = { ...healthy("pod-b"), probe: { repository, digest: layer.digest } };
      const text = kv.get("pod/pod-b") ?? "";
      kv.set("pod/pod-b", JSON.stringify({ v: 1, ...active, ...closed }));
      onTestFinished(() => void kv.set("pod/pod-b", text));
    };

    test("sends them only to the default Pod, and says that it asks another Pod without them", async () => {
      const checks = await check({ write: true });
      expect(findings(checks)).toEqual([]);
      expect([new Set(asked("pod-a")), new Set(asked("pod-b"))]).toEqual([new Set(["basic"]), new Set(["none"])]);
      const ofB = checks.filter(({ pod }) => pod === "pod-b");
      expect(tokenCheck(ofB)).toMatchObject({ status: "ok", text: expect.stringContaining(own) });
      expect(tokenCheck(checks.filter(({ pod }) => pod === "pod-a"))).toMatchObject({
        status: "ok",
        text: expect.not.stringContaining("PODCTL_USER"),
      });
    });

    test("skips what another Pod refuses without them", async () => {
      await closeProbe();
      const checks = await check({ pods: ["pod-b"], probeToken: null });
      expect([findings(checks), new Set(asked("pod-b"))]).toEqual([[], new Set(["none"])]);
      expect(tokenCheck(checks)).toMatchObject({ status: "skipped", text: expect.stringContaining(own) });
    });

    test("sends a Pod's own login to that Pod, but not to the edge, which would take it for one of the default Pod", async () => {
      vi.stubEnv("PODCTL_USER_POD_B", "demo");
      vi.stubEnv("PODCTL_PASSWORD_POD_B", "demo");
      await closeProbe();
      const user = { name: "operator", password: "of-pod-a" };
      const checks = await check({ pods: ["pod-b"], user, probeToken: null });
      expect([findings(checks), asked("pod-a"), asked("pod-b")]).toEqual([[], [], ["basic", "none"]]);
      expect(tokenCheck(checks)).toMatchObject({ status: "ok", text: expect.not.stringContaining("PODCTL_USER") });
      expect(checks).toContainEqual(
        expect.objectContaining({
          check: "through edge",
          status: "skipped",
          text: expect.stringContaining("the Pod's cell"),
        }),
      );
    });
  });
});

describe("doctor in a fleet that asks for no tokens", async () => {
  const pod = await startOddPod();
  const open = useStack({ env: { AUTH: "none" }, topology: asPodB(pod), seedImages: false });

  test("sends no token", async () => {
    const { "pod-b": record } = await healthyRecords(open.current);
    const headers = { "Content-Length": 2, "Docker-Content-Digest": record.probe.digest };
    pod.answer((response) => void response.writeHead(200, headers).end("{}"));
    const streamed = { ...active, ...record, registry: pod.url, blobs: { stores: [] } };
    const texts = new Map([
      ["pod/pod-b", JSON.stringify({ v: 1, ...streamed })],
      ["route/globex", JSON.stringify({ v: 1, pod: "pod-b", ...active })],
    ]);
    const checks = await check({
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
