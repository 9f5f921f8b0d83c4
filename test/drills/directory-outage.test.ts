import { afterAll, beforeEach, expect, test } from "vitest";
import { KeptEntries } from "../../src/directory/kept-entries.ts";
import type { BulkKv } from "../../src/directory/kv.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import { type LookupOptions, resolvePod } from "../../src/directory/resolve.ts";
import { type Digest, parseDigest } from "../../src/oci/digest.ts";
import { parseRepositoryName } from "../../src/oci/repository-name.ts";
import { type Isolate, startIsolate, startKv } from "../support/isolate.ts";

const running = await startKv();
const stopped = await startKv();
await stopped.stop();
afterAll(() => running.stop());

let fails = false;
const kv: BulkKv = { get: (...read) => (fails ? stopped : running).kv.get(...read) };
let isolate: Isolate;
beforeEach(async () => {
  fails = false;
  isolate = startIsolate(kv);
  const services = { registry: "https://a.test", token: "https://a.test/jwt/auth" };
  const pod = { v: 1, revision: 1, state: "active", ...services, issuer: "i", audience: "a", keys: [] };
  await running.kv.put("pod/pod-a", JSON.stringify(pod));
  await running.kv.put("route/acme", JSON.stringify({ v: 1, pod: "pod-a", revision: 1, state: "active" }));
  await running.kv.put("blocks", JSON.stringify({ v: 1, revision: 1, blocks: { [blockedDigest]: "leaked" } }));
});

const digestOf = (letter: string): Digest => {
  const digest = parseDigest(`sha256:${letter.repeat(64)}`);
  if (!digest.ok) throw new Error(digest.error);
  return digest.value;
};
const blockedDigest = digestOf("b");

/** Returns the text of the block, or else the id of the name's Pod, or else null. If the directory cannot tell, returns why. */
async function resolve(
  text: string,
  digest: Digest | null = null,
  options: LookupOptions = {},
): Promise<string | null> {
  const name = parseRepositoryName(text);
  if (!name.ok) throw new Error(name.error);
  const resolution = await resolvePod(isolate.directory(), { name: name.value, digest, ...options });
  if (!resolution.ok) return resolution.error.text;
  return resolution.value.blocked ?? resolution.value.pod?.id ?? null;
}

const seconds = (count: number) => count * 1_000;
const hours = (count: number) => count * 3_600_000;
const issuedBy = (id: string) => ({ chosenBy: { issuers: [id as PodId] } }) as const;

test("a name that was read lately has its Pod while KV fails, and the trace says why KV failed", async () => {
  expect([await resolve("acme/app"), isolate.trace.kvFailure]).toEqual(["pod-a", undefined]);
  fails = true;
  isolate.nowMs += seconds(20);
  expect(await resolve("acme/app")).toBe("pod-a");
  expect(isolate.trace.kvFailure).toMatch(/^KV read failed: /);
  isolate.nowMs += hours(23);
  expect(await resolve("acme/app")).toBe("pod-a");
});

test("KV that fails is asked again after a pause, and is believed at once when it is back", async () => {
  await resolve("acme/app");
  fails = true;
  isolate.nowMs += seconds(31);
  await resolve("acme/app");
  const asked = isolate.trace.kvReads;
  for (let request = 0; request < 5; request += 1) await resolve("acme/app");
  expect(isolate.trace.kvReads).toBe(asked);
  await running.kv.delete("route/acme");
  fails = false;
  isolate.nowMs += seconds(16);
  expect(await resolve("acme/app")).toBeNull();
});

test("a failure of KV counts for half a minute, so that after a quiet time no request uses old values while KV answers", async () => {
  await resolve("acme/app");
  fails = true;
  isolate.nowMs += seconds(31);
  const write = { mustBeCurrent: true };
  for (let count = 0; count < 3; count += 1)
    expect(await resolve("acme/app", null, write)).toMatch(/^KV read failed: /);
  fails = false;
  await running.kv.put("blocks", JSON.stringify({ v: 1, revision: 2, blocks: { acme: "withdrawn" } }));
  isolate.nowMs += seconds(30);
  const burst = [{}, {}, write, write].map((options) => resolve("acme/app", null, options));
  expect(await Promise.all(burst)).toEqual(burst.map(() => "withdrawn"));
});

test("while KV fails, a name that was not read for a day is a failure, never a name without a Pod", async () => {
  await resolve("acme/app");
  fails = true;
  expect(await resolve("acme/other")).toMatch(/^KV read failed: /);
  isolate.nowMs += hours(25);
  expect(await resolve("acme/app")).toMatch(/^KV read failed: /);
});

test("while KV fails, a new digest of a known name is pulled, and a known block holds", async () => {
  expect(await resolve("acme/app", blockedDigest)).toBe("leaked");
  fails = true;
  isolate.nowMs += seconds(31);
  expect(await resolve("acme/app", blockedDigest)).toBe("leaked");
  expect(await resolve("acme/app", digestOf("c"))).toBe("pod-a");
});

test("the names of a hostile Pod, however many and deep, push no other Pod's names out of the memory for an outage", async () => {
  const services = { registry: "https://b.test", token: "https://b.test/jwt/auth" };
  const pod = { v: 1, revision: 1, state: "active", ...services, issuer: "i", audience: "b", keys: [] };
  await running.kv.put("pod/evil", JSON.stringify(pod));
  await running.kv.put("route/evil", JSON.stringify({ v: 1, pod: "evil", revision: 1, state: "active" }));
  const names = Array.from({ length: 5 }, (_, index) => `acme/team/app-${index}`);
  for (const name of names) expect(await resolve(name, null, issuedBy("pod-a"))).toBe("pod-a");
  for (let index = 0; index < 540; index += 1) {
    const deep = `evil/x${index}${"/a".repeat(18)}`;
    expect(await resolve(deep, null, issuedBy("evil"))).toBe("evil");
    isolate.nowMs += 20;
  }
  fails = true;
  isolate.nowMs += seconds(31);
  for (const name of names) expect(await resolve(name, null, issuedBy("pod-a"))).toBe("pod-a");
});

test("the memory for an outage never drops a missing record that every request needs, however many other values are missing", () => {
  const kept = new KeptEntries({ maxFound: 10, maxMissing: 10 });
  const missing = () => ({ text: null, readAtMs: 0, askedAtMs: 0 });
  kept.set("blocks", missing(), null);
  for (let index = 0; index < 11; index += 1) kept.set(`route/acme/x${index}`, missing(), null);
  expect(kept.get("route/acme/x0")).toBeUndefined();
  expect(kept.get("blocks")).toEqual(missing());
});
