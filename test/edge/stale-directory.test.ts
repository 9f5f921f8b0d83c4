import { expect, test } from "vitest";
import { noneRejected } from "../../src/auth/verify.ts";
import { createProofs } from "../../src/blobs/proofs.ts";
import { unknownClient } from "../../src/directory/clients.ts";
import { createDirectory } from "../../src/directory/directory.ts";
import { type BulkKv, createReadKv } from "../../src/directory/kv.ts";
import { handle } from "../../src/edge/handle.ts";
import { createIsolate } from "../../src/isolate.ts";
import { ok } from "../../src/lib/result.ts";
import { createManifests } from "../../src/manifests/manifests.ts";
import type { Services } from "../../src/services.ts";
import { createRememberedGrants } from "../../src/token-endpoint/remembered-grants.ts";
import { openConfig } from "../support/isolate.ts";

const records = new Map(
  Object.entries({
    "pod/pod-a": {
      ...{ v: 1, revision: 1, state: "active", registry: "https://a.test", token: "https://a.test/jwt/auth" },
      ...{ issuer: "i", audience: "a", keys: [] },
    },
    "route/acme": { v: 1, pod: "pod-a", revision: 1, state: "active" },
  }).map(([key, record]) => [key, JSON.stringify(record)]),
);

/** This trace forgets what the edge writes for the log. So these tests fail if the edge decides anything by its trace. */
const lostTrace = Object.freeze(
  Object.defineProperties({} as Services["trace"], {
    kvReads: { get: () => 0, set: () => {}, enumerable: true },
    kvKeys: { get: () => 0, set: () => {}, enumerable: true },
    podRequests: { get: () => 0, set: () => {}, enumerable: true },
    kvFailure: { get: () => undefined, set: () => {}, enumerable: true },
  }),
);

/** The edge's Pod answers 201 to everything. */
function startEdge() {
  const isolate = createIsolate();
  const edge = { nowMs: 1_800_000_000_000, kvFails: false, called: [] as string[], whilePodWorks: () => {} };
  const kv: BulkKv = {
    get: async (keys) => {
      if (edge.kvFails) throw new Error("KV is gone");
      return new Map(keys.map((key) => [key, records.get(key) ?? null]));
    },
  };
  const send = (method: string, path: string) => {
    const now = new Date(edge.nowMs);
    const clock = () => new Date(edge.nowMs);
    const readKv = createReadKv({ kv, cache: isolate.kv, now: clock, trace: lostTrace, waitUntil: () => {} });
    const waitUntil = () => undefined;
    const cache = { read: async () => null, write: async () => undefined };
    const emptyCache = { match: async () => null, put: async () => undefined };
    const services: Services = {
      ...{
        ...isolate,
        config: openConfig,
        now,
        waitUntil,
        client: unknownClient,
        trace: lostTrace,
        rejected: noneRejected(),
      },
      directory: createDirectory({
        readKv,
        now: clock,
        plainHttp: "nowhere",
        parsedPods: isolate.parsedPods,
        parsedRecords: isolate.parsedRecords,
      }),
      callRegistry: async (pod, request) => {
        edge.called.push(`${request.method} ${pod.id}`);
        edge.whilePodWorks();
        return ok(new Response(null, { status: 201 }));
      },
      callTokenService: async () => expect.fail("the token service was asked"),
      callStorage: async () => expect.fail("the storage was asked"),
      callGateway: async () => expect.fail("the gateway was asked"),
      openSecret: async () => expect.fail("a secret was opened"),
      proofs: createProofs({ memory: isolate.proofs, cache, clock, waitUntil }),
      manifests: createManifests({ memory: isolate.manifests, cache: emptyCache, clock, waitUntil }),
      movedTombstones: { has: async () => false, add: () => undefined },
      grants: createRememberedGrants({ cache: emptyCache, edgeKeys: [], clock }),
    };
    return handle(new Request(`https://registry.test${path}`, { method }), services);
  };
  return { edge, send };
}

test("a write is refused while its assignment is outdated, whatever the log record says", async () => {
  const { edge, send } = startEdge();
  expect((await send("DELETE", "/v2/acme/app/manifests/1")).response.status).toBe(201);
  edge.kvFails = true;
  edge.nowMs += 31_000;
  expect((await send("GET", "/v2/acme/app/tags/list")).response.status).toBe(201);
  const refused = await send("DELETE", "/v2/acme/app/manifests/1");
  expect([refused.response.status, refused.outcome, refused.cause]).toEqual([
    503,
    "unavailable",
    "KV read failed: KV is gone",
  ]);
  expect(edge.called).toEqual(["DELETE pod-a", "GET pod-a"]);
});

test("a write that took long is no success while KV fails, because its group may have been moved meanwhile", async () => {
  const { edge, send } = startEdge();
  edge.whilePodWorks = () => {
    edge.kvFails = true;
    edge.nowMs += 31_000;
  };
  const refused = await send("DELETE", "/v2/acme/app/manifests/1");
  expect([refused.response.status, refused.cause]).toEqual([503, "KV read failed: KV is gone"]);
  expect(edge.called).toEqual(["DELETE pod-a"]);
  edge.kvFails = false;
  edge.whilePodWorks = () => {
    edge.kvFails = true;
    edge.nowMs += 19_000;
  };
  expect((await send("DELETE", "/v2/acme/app/manifests/1")).response.status).toBe(201);
});
