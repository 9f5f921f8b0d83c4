import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { generateSealingKeys, seal } from "../../src/directory/seal.ts";
import { checkDeployment } from "../../src/podctl/doctor/check-deployment.ts";
import { directoryOf, findings, passed } from "../support/doctor.ts";
import { gatewayKey, startTestGateway } from "../support/gateway.ts";
import { startOddPod } from "../support/odd-pod.ts";
import { closedOrigin } from "../support/proxy.ts";
import type { ToyPod } from "../support/toy-pod.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";

const sealingKeys = await generateSealingKeys();
const stack = useStack({ gateways: "fleet", sealingKeys });
const odd = await startOddPod();
const recordKey = "pod/pod-b";

/** doctor reads the texts in `changed` instead of those in KV. */
async function check(changed: ReadonlyMap<string, string> = new Map()) {
  const { edge, stateDir } = stack.current;
  const texts = await readStackKv(stack.current, ["directory", "route/globex", "pod/pod-a", recordKey]);
  return checkDeployment({
    directory: directoryOf(new Map([...[...texts].map(([key, text]) => [key, text ?? ""] as const), ...changed])),
    pods: ["pod-b"],
    userAt: () => ({ name: "demo", password: "demo" }),
    edge,
    edgeHosts: [new URL(edge).hostname],
    probeToken: await readFile(`${stateDir}/probe-token`, "utf8"),
    write: false,
  });
}

type Gateway = { readonly url: string; readonly key: string; readonly sealedFor?: string };

async function checkWith({ url, key, sealedFor = "pod-b" }: Gateway) {
  const place = { pod: sealedFor, field: "gateway.key", scheme: "gateway", target: url };
  return findings(await checkWithRecord({ url, key: await seal(key, place, sealingKeys.publicJwk) }));
}

type StoredRecord = { readonly revision: number; readonly blobs: object; readonly gateway: object };

async function readRecord() {
  const text = (await readStackKv(stack.current, [recordKey])).get(recordKey) ?? "";
  const record = JSON.parse(text) as StoredRecord;
  return { text, record, withoutStores: { ...record, blobs: { ...record.blobs, stores: [] } } };
}

async function checkWithRecord(changed: object) {
  const { text, record } = await readRecord();
  const gateway = { ...record.gateway, ...changed };
  await stack.current.putKv(recordKey, JSON.stringify({ ...record, gateway }));
  await stack.current.restartEdge("empty");
  try {
    return await check();
  } finally {
    await stack.current.putKv(recordKey, text);
    await stack.current.restartEdge("empty");
  }
}

const startGateway = (env: Readonly<Record<string, string>>) =>
  startTestGateway({
    pod: { registry: stack.current.pods["pod-b"].registry.url } as ToyPod,
    env: { POD: "pod-b", EDGE: stack.current.edge, ...env },
  });

describe("doctor of a Pod's gateway", () => {
  test("a healthy one passes, and its registry is only asked about an upload that never began", async () => {
    stack.current.clearSeen();
    const checks = await check();
    expect(findings(checks)).toEqual([]);
    expect(passed(checks, "pod-b")).toContain("gateway");
    expect(stack.current.seen("pod-b", "gateway").map(({ method, status }) => [method, status])).toEqual([
      ["GET", 404],
      ["GET", 401],
    ]);
    const asked = stack.current.seen("pod-b", "registry").filter(({ path }) => path.includes("/uploads/"));
    expect(asked).toMatchObject([{ method: "GET", status: 401, authorization: "none" }]);
  });

  test("one that does not run is found", async () => {
    expect(await checkWith({ url: closedOrigin, key: gatewayKey() })).toEqual(["pod-b: gateway-unreachable"]);
  });

  test("another server in its place is found", async () => {
    const { url } = stack.current.pods["pod-a"].storage;
    expect(await checkWith({ url, key: gatewayKey() })).toEqual(["pod-b: gateway-wrong"]);
  });

  test("a server with answers that only look like a gateway's is found, and doctor goes on", async () => {
    odd.answer((response, { path }) => {
      const isHealth = path === "/-/health";
      response.writeHead(isHealth ? 200 : 404).end(JSON.stringify(isHealth ? { status: "ok" } : { errors: 5 }));
    });
    expect(await checkWith({ url: odd.url, key: gatewayKey() })).toEqual(["pod-b: gateway-wrong"]);
  });

  test("an edge that cannot read the record of a Pod without stores is found", async () => {
    const { text, withoutStores } = await readRecord();
    await stack.current.putKv(recordKey, "{}");
    await stack.current.restartEdge("empty");
    try {
      const checks = await check(new Map([[recordKey, JSON.stringify(withoutStores)]]));
      expect(findings(checks)).toEqual(["pod-b: edge-behind"]);
    } finally {
      await stack.current.putKv(recordKey, text);
      await stack.current.restartEdge("empty");
    }
  });

  test("an edge with an older record of a Pod without stores is found", async () => {
    const { withoutStores } = await readRecord();
    const newer = { ...withoutStores, revision: withoutStores.revision + 1 };
    const checks = await check(new Map([[recordKey, JSON.stringify(newer)]]));
    expect(findings(checks)).toEqual(["pod-b: edge-behind"]);
  });

  test("another key is found", async () => {
    const { url } = await startGateway({ GATEWAY_KEY: gatewayKey() });
    expect(await checkWith({ url, key: gatewayKey() })).toEqual(["pod-b: gateway-key"]);
  });

  test.each([
    ["fleet", "the fleet runs it, so every client but oras and Helm goes to it"],
    ["pod", "the Pod's operator runs it, so skopeo, podman, buildah, Jib and unknown clients stay on the edge"],
  ])("operator: %s is told with the clients that go to the gateway", async (operator, text) => {
    const checks = await checkWithRecord({ operator });
    expect(checks.find(({ check: name }) => name === "gateway")).toMatchObject({
      status: "ok",
      text: expect.stringContaining(text),
    });
  });

  test("another Pod's gateway is found", async () => {
    const key = gatewayKey();
    const { url } = await startGateway({ GATEWAY_KEY: key, POD: "pod-a" });
    expect(await checkWith({ url, key })).toEqual(["pod-b: gateway-key"]);
  });

  test("a key that is sealed for another Pod is found", async () => {
    const key = gatewayKey();
    const { url } = await startGateway({ GATEWAY_KEY: key });
    expect(await checkWith({ url, key, sealedFor: "pod-a" })).toEqual(["pod-b: gateway-sealed"]);
  });

  test("one that does not know the edge's hostname is found, and its registry is not asked", async () => {
    const key = gatewayKey();
    const { url, tap } = await startGateway({ GATEWAY_KEY: key, EDGE: "https://registry.example.com" });
    expect(await checkWith({ url, key })).toEqual(["pod-b: gateway-edge"]);
    expect(tap.seen()).toEqual([]);
  });

  test("one that knows the edge's hostname among others passes", async () => {
    const key = gatewayKey();
    const EDGE = `https://registry.example.com, ${stack.current.edge}`;
    const { url } = await startGateway({ GATEWAY_KEY: key, EDGE });
    expect(await checkWith({ url, key })).toEqual([]);
  });

  test("one that does not reach its registry is found", async () => {
    const key = gatewayKey();
    const { url } = await startGateway({ GATEWAY_KEY: key, REGISTRY: closedOrigin });
    expect(await checkWith({ url, key })).toEqual(["pod-b: gateway-registry"]);
  });

  test.each([
    ["a proxy that asks for the secret of `trust`", 403, "<html>403 Forbidden</html>"],
    ["another web server", 404, "<html>404 Not Found</html>"],
    ["a server that answers every path with a page", 200, "<html>Welcome</html>"],
  ])("one whose REGISTRY is %s is found", async (_, status, text) => {
    odd.answer((response) => void response.writeHead(status).end(text));
    const key = gatewayKey();
    const { url } = await startGateway({ GATEWAY_KEY: key, REGISTRY: odd.url });
    expect(await checkWith({ url, key })).toEqual(["pod-b: gateway-registry"]);
  });

  test("a registry without tokens, which answers that it does not know the upload, passes", async () => {
    const errors = [{ code: "BLOB_UPLOAD_UNKNOWN", message: "blob upload unknown to registry" }];
    odd.answer((response) => void response.writeHead(404).end(JSON.stringify({ errors })));
    const key = gatewayKey();
    const { url } = await startGateway({ GATEWAY_KEY: key, REGISTRY: odd.url });
    expect(await checkWith({ url, key })).toEqual([]);
  });
});
