import { expect, test } from "vitest";
import { noneRejected } from "../../src/auth/verify.ts";
import { createProofCache } from "../../src/blobs/proof-cache.ts";
import { createProofs } from "../../src/blobs/proofs.ts";
import { unknownClient } from "../../src/directory/clients.ts";
import { createDirectory } from "../../src/directory/directory.ts";
import { createReadKv } from "../../src/directory/kv.ts";
import { handle } from "../../src/edge/handle.ts";
import { createIsolate } from "../../src/isolate.ts";
import { ok } from "../../src/lib/result.ts";
import { createManifests } from "../../src/manifests/manifests.ts";
import { createLocationCache } from "../../src/net/location-cache.ts";
import { createTombstones } from "../../src/net/tombstones.ts";
import type { Services } from "../../src/services.ts";
import { createRememberedGrants } from "../../src/token-endpoint/remembered-grants.ts";
import { manifestTypes, sha256 } from "../support/client.ts";
import { manifestText, manifestType } from "../support/image.ts";
import { openConfig } from "../support/isolate.ts";

/** Workers' free plan allows 50 calls of the Cache API in one request. While six are open, a seventh waits. */
const [mostCalls, mostAtOnce] = [50, 6];

const digests = Array.from({ length: 256 }, (_, index) => `sha256:${index.toString(16).padStart(64, "0")}`);
const text = manifestText(digests);
const digest = await sha256(new Uint8Array(Buffer.from(text)));
const records = new Map(
  Object.entries({
    "pod/pod-a": {
      ...{ v: 1, revision: 1, state: "active", registry: "https://a.test", token: "https://a.test/jwt/auth" },
      ...{ issuer: "i", audience: "a", keys: [] },
      blobs: { proof: "manifest", stores: [{ scheme: "public", baseUrl: "https://blobs.test" }] },
    },
    "route/acme": { v: 1, pod: "pod-a", revision: 1, state: "active" },
  }).map(([key, record]) => [key, JSON.stringify(record)]),
);

function startCache() {
  const stored = new Map<string, { readonly body: string; readonly headers: Headers }>();
  const calls = { made: 0, open: 0, atOnce: 0 };
  const counted = async <T>(work: () => T | Promise<T>): Promise<T> => {
    calls.made += 1;
    calls.open += 1;
    calls.atOnce = Math.max(calls.atOnce, calls.open);
    await new Promise((resolve) => setTimeout(resolve, 1));
    calls.open -= 1;
    return work();
  };
  const cache = {
    match: (url: string) =>
      counted(() => {
        const found = stored.get(url);
        return found === undefined ? undefined : new Response(found.body, { headers: found.headers });
      }),
    put: (url: string, response: Response) =>
      counted(async () => void stored.set(url, { body: await response.text(), headers: response.headers })),
  };
  return { caches: { open: async () => cache }, calls };
}

/** Each request gets an isolate of its own, so it finds nothing in memory. */
function startEdge(callRegistry: Services["callRegistry"]) {
  const { caches, calls } = startCache();
  const now = new Date(1_800_000_000_000);
  return async (method: string, path: string, body: string | null = null) => {
    Object.assign(calls, { made: 0, open: 0, atOnce: 0 });
    const isolate = createIsolate();
    const work: Promise<unknown>[] = [];
    const trace = { kvReads: 0, kvKeys: 0, podRequests: 0 };
    const kv = { get: async (keys: readonly string[]) => new Map(keys.map((key) => [key, records.get(key) ?? null])) };
    const waitUntil = (promise: Promise<unknown>) => void work.push(promise);
    const ports = { clock: () => now, waitUntil };
    const { parsedPods, parsedRecords } = isolate;
    const services: Services = {
      ...isolate,
      rejected: noneRejected(),
      ...{ client: unknownClient, now, waitUntil, trace, callRegistry },
      config: openConfig,
      directory: createDirectory({
        readKv: createReadKv({ kv, cache: isolate.kv, now: () => now, trace, waitUntil }),
        ...{ now: () => now, plainHttp: "nowhere", parsedPods, parsedRecords },
      }),
      callTokenService: async () => expect.fail("the token service was asked"),
      callStorage: async () => expect.fail("the storage was asked"),
      callGateway: async () => expect.fail("the gateway was asked"),
      openSecret: async () => expect.fail("a secret was opened"),
      proofs: createProofs({
        ...ports,
        memory: isolate.proofs,
        cache: createProofCache(createLocationCache(caches, "edge.test", "proofs")),
      }),
      manifests: createManifests({
        ...ports,
        memory: isolate.manifests,
        cache: createLocationCache(caches, "edge.test", "manifests"),
      }),
      movedTombstones: createTombstones({ ...ports, cache: createLocationCache(caches, "edge.test", "moves") }),
      grants: createRememberedGrants({
        ...{ edgeKeys: [], clock: () => now },
        cache: createLocationCache(caches, "edge.test", "grants"),
      }),
    };
    const headers = { Accept: manifestTypes, ...(body === null ? {} : { "Content-Type": manifestType }) };
    const request = new Request(`https://registry.test${path}`, { method, body, headers });
    const { response, outcome } = await handle(request, services);
    await response.arrayBuffer();
    const before = { ...calls };
    for (let next = work.shift(); next !== undefined; next = work.shift()) await next;
    return { status: response.status, outcome, calls: { ...calls }, atOnceBefore: before.atOnce };
  };
}

const answers: Services["callRegistry"] = async (_, { method, url }) => {
  const [, blob] = /\/blobs\/(.+)$/.exec(url) ?? [];
  if (blob !== undefined) return ok(new Response(null, { headers: { "Docker-Content-Digest": blob } }));
  const headers = { "Content-Type": manifestType, "Docker-Content-Digest": digest };
  if (method === "PUT") return ok(new Response(null, { status: 201, headers }));
  return ok(new Response(method === "HEAD" ? null : text, { headers }));
};

const manyTags = Array.from({ length: 99 }, (_, index) => `tag=${index}`).join("&");

test.each([
  ["a push of it", "PUT", "manifests/1", "forwarded"],
  ["a push of it by digest with 99 tags", "PUT", `manifests/${digest}?${manyTags}`, "forwarded"],
  ["a pull of it by tag", "GET", "manifests/1", "forwarded"],
  ["a pull of it by digest", "GET", `manifests/${digest}`, "forwarded"],
  ["a GET of one of its blobs", "GET", `blobs/${digests[200]}`, "redirected"],
  ["a DELETE of it", "DELETE", `manifests/${digest}`, "forwarded"],
])("with a manifest of 256 blobs, %s calls the location's cache at most 50 times", async (_, method, path, outcome) => {
  const ask = startEdge(answers);
  const { calls, ...answer } = await ask(method, `/v2/acme/app/${path}`, method === "PUT" ? text : null);
  expect(answer.outcome).toBe(outcome);
  expect(calls.made).toBeLessThanOrEqual(mostCalls);
});

test("a request waits for no more than six calls of the location's cache at once before its answer", async () => {
  const ask = startEdge(answers);
  expect((await ask("GET", "/v2/acme/app/manifests/1")).status).toBe(200);
  for (const path of [`manifests/${digest}`, `blobs/${digests[3]}`, `blobs/${digests[200]}`]) {
    const { outcome, calls } = await ask("GET", `/v2/acme/app/${path}`);
    expect([path, ["kept", "redirected"].includes(outcome), calls.atOnce <= mostAtOnce]).toEqual([path, true, true]);
  }
});

test("while the Pod fails, a pull calls the location's cache at most 50 times for each request", async () => {
  let isDown = false;
  const ask = startEdge(async (pod, request) =>
    isDown ? { ok: false, error: { reason: "unreachable", text: "down" } } : answers(pod, request),
  );
  await ask("GET", "/v2/acme/app/manifests/1");
  isDown = true;
  for (const path of ["manifests/1", `manifests/${digest}`, `blobs/${digests[3]}`]) {
    const { status, calls } = await ask("GET", `/v2/acme/app/${path}`);
    expect([200, 307]).toContain(status);
    expect([calls.made <= 10, calls.atOnce <= mostAtOnce]).toEqual([true, true]);
  }
});
