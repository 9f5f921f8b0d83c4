import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import * as v from "valibot";
import { afterAll, describe, expect, test } from "vitest";
import { noneRejected, verifyToken } from "../../src/auth/verify.ts";
import { storesFor } from "../../src/blobs/choose-store.ts";
import { createSigningMemory, signBlobUrl } from "../../src/blobs/sign.ts";
import { unknownClient } from "../../src/directory/clients.ts";
import type { Pod } from "../../src/directory/directory.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import { ok } from "../../src/lib/result.ts";
import type { Digest } from "../../src/oci/digest.ts";
import { type SigningStore, storeSchema } from "../../src/signers/index.ts";
import { startIsolate, startKv } from "../support/isolate.ts";

const running = await startKv();
afterAll(() => running.stop());

const collectGarbage = () => {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
};
const openSecret = async () => ok("{}");
const digestOf = (index: number) => `sha256:${index.toString(16).padStart(64, "0")}` as Digest;
const publicStore = (baseUrl: string, prefix = "") =>
  v.parse(storeSchema, { scheme: "public", baseUrl, prefix }) as SigningStore;

test("memory of an isolate: of 30 revisions of a Pod's record, only the last is kept, although each was used", async () => {
  const { kv } = running;
  const isolate = startIsolate(kv);
  const { parsedCidrs, parsedPods, signing, tokens } = isolate.memory;
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  const record = {
    ...{ v: 1, state: "active", registry: "https://a.test", token: "https://a.test/jwt/auth" },
    ...{ issuer: "issuer", audience: "audience" },
    keys: [{ ...(await exportJWK(publicKey)), kid: "A".repeat(43), alg: "ES256" }],
    blobs: { stores: [{ scheme: "public", baseUrl: "https://store.test", when: { cidrs: ["192.0.2.0/24"] } }] },
  };
  const use = async (revision: number): Promise<WeakRef<Pod>> => {
    await kv.put("pod/pod-a", JSON.stringify({ ...record, revision }));
    isolate.nowMs += 31_000;
    const found = await isolate.directory().findPod("pod-a" as PodId, { mustBeCurrent: true });
    const pod = found.ok ? found.value.pod : null;
    if (pod === null) return expect.fail("the Pod was not found");
    expect(pod.revision).toBe(revision);
    const jwt = await new SignJWT({
      iss: "issuer",
      aud: "audience",
      exp: isolate.nowMs / 1_000 + 300,
      jti: `${revision}`,
    })
      .setProtectedHeader({ alg: "ES256", kid: "A".repeat(43) })
      .sign(privateKey);
    const now = new Date(isolate.nowMs);
    const verdict = await verifyToken(jwt, pod, { tokens, rejected: noneRejected(), now });
    expect(verdict.kind).toBe("verified");
    const [store] = storesFor(pod, { ...unknownClient, ip: "192.0.2.1" }, parsedCidrs);
    if (store === undefined || store.scheme === "pod") return expect.fail("no store fits");
    const blob = { method: "GET", digest: digestOf(revision), pod, store } as const;
    expect((await signBlobUrl(blob, { openSecret, signing, now })).ok).toBe(true);
    return new WeakRef(pod);
  };
  const used: WeakRef<Pod>[] = [];
  for (let revision = 1; revision <= 30; revision += 1) used.push(await use(revision));
  expect([parsedPods.size, tokens.verified.size, signing.urls.size]).toEqual([1, 30, 30]);
  // A WeakRef keeps its target until the current task ends, so we wait for the next task.
  await new Promise((resolve) => setTimeout(resolve, 10));
  collectGarbage();
  expect(used.flatMap((ref) => ref.deref()?.revision ?? [])).toEqual([30]);
});

describe("signed URLs in memory:", () => {
  const now = new Date("2026-11-24T12:00:00Z");
  const ports = (signing = createSigningMemory()) => ({ openSecret, signing, now });
  const podWith = (stores: readonly SigningStore[]) => ({ id: "pod-a", blobs: { stores } }) as unknown as Pod;

  test.each([
    ["short", ""],
    ["long", "x".repeat(600)],
  ])("500 %s URLs of each of 100 stores take less than 10 MB", async (_, prefix) => {
    const stores = Array.from({ length: 100 }, (_, index) => publicStore(`https://store-${index}.test`, prefix));
    const pod = podWith(stores);
    const known = ports();
    const heapBytes = () => {
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    const before = heapBytes();
    for (const store of stores) {
      for (let index = 0; index < 500; index += 1) {
        const url = await signBlobUrl({ method: "GET", digest: digestOf(index), pod, store }, known);
        // V8 may keep a URL in pieces until it becomes a header's value. So we measure the URL after that.
        if (url.ok) new Headers({ Location: url.value });
      }
    }
    expect((heapBytes() - before) / 1e6).toBeLessThan(10);
    expect(known.signing.urls.size).toBeGreaterThan(4_000);
  });

  test("a store of a new record gets none of the URLs of an old record's store", async () => {
    const known = ports();
    const urls = [];
    for (const baseUrl of ["https://old.test", "https://new.test"]) {
      const store = publicStore(baseUrl);
      const url = await signBlobUrl({ method: "GET", digest: digestOf(1), pod: podWith([store]), store }, known);
      urls.push(url.ok ? new URL(url.value).origin : url.error.text);
    }
    expect(urls).toEqual(["https://old.test", "https://new.test"]);
  });
});
