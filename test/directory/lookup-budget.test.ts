import { afterAll, beforeEach, expect, test } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import { startIsolate, startKv } from "../support/isolate.ts";

const kv = await startKv();
afterAll(() => kv.stop());

let isolate = startIsolate(kv.kv);
beforeEach(() => {
  isolate = startIsolate(kv.kv);
});

const podOfKey = async (kid: string) => {
  const pod = await isolate.directory().podOfKey(kid);
  return pod.ok ? pod.value : pod.error.text;
};
const thumbprint = (index: number) => String(index).padStart(43, "k");
const libtrust = `${"AB23:".repeat(11)}AB23`;

test("a key is looked up once in an interval, whether it is known or not", async () => {
  await kv.kv.put(`key/${libtrust}`, JSON.stringify({ v: 1, pod: "pod-a" }));
  for (let request = 0; request < 5; request += 1) {
    expect([await podOfKey(libtrust), await podOfKey(thumbprint(1))]).toEqual(["pod-a", null]);
  }
  // Each of the two keys is read once, and so is the directory record. This record lists no Pod, so no Pod's record is read.
  expect(isolate.trace.kvReads).toBe(3);
});

test("a key that was not there is found once the interval is over", async () => {
  expect(await podOfKey(thumbprint(2))).toBeNull();
  await kv.kv.put(`key/${thumbprint(2)}`, JSON.stringify({ v: 1, pod: "pod-b" }));
  expect(await podOfKey(thumbprint(2))).toBeNull();
  isolate.nowMs += 16_000;
  expect(await podOfKey(thumbprint(2))).toBe("pod-b");
});

test.each([
  "",
  "key-1",
  `${libtrust}:AB23`,
  libtrust.toLowerCase(),
  "a".repeat(42),
  "a".repeat(44),
  `${"a".repeat(42)}/`,
  `${"a".repeat(40)}\n..`,
])("%j cannot be a key's name and is not looked up", async (kid) => {
  expect([await podOfKey(kid), isolate.trace.kvReads]).toEqual([null, 0]);
});

test("made-up keys and Pods cost a bounded number of reads, while known ones are still found", async () => {
  await kv.kv.put(`key/${thumbprint(0)}`, JSON.stringify({ v: 1, pod: "pod-a" }));
  await kv.kv.put("directory", JSON.stringify({ v: 1, pods: ["pod-a"], credentials: "own", revision: 1 }));
  expect(await podOfKey(thumbprint(0))).toBe("pod-a");
  for (let index = 1; index <= 200; index += 1) {
    await podOfKey(thumbprint(index + 1_000));
    await isolate.directory().claimedPod(`pod-${index}` as PodId);
  }
  // Two reads are for the directory record and for the listed Pod's record. The other 50 are the whole budget for made-up keys and Pods.
  expect(isolate.trace.kvReads).toBe(52);
  expect(await podOfKey(thumbprint(0))).toBe("pod-a");
  await isolate.directory().claimedPod("pod-a" as PodId);
  expect(isolate.trace.kvReads).toBe(52);
  isolate.nowMs += 10_000;
  await podOfKey(thumbprint(9_999));
  expect(isolate.trace.kvReads).toBe(53);
});

test("while strangers make up twelve keys a second, the key of a listed Pod is always found", async () => {
  const services = { registry: "https://a.test", token: "https://a.test/jwt/auth" };
  const key = { kty: "RSA", kid: thumbprint(7), alg: "RS256" };
  const pod = { v: 1, revision: 1, state: "active", ...services, issuer: "i", audience: "a", keys: [key] };
  await kv.kv.put("directory", JSON.stringify({ v: 1, pods: ["pod-z", "pod-a"], revision: 1 }));
  await kv.kv.put("pod/pod-a", JSON.stringify(pod));
  await kv.kv.put(`key/${thumbprint(7)}`, JSON.stringify({ v: 1, pod: "pod-a" }));
  const found: unknown[] = [];
  for (let second = 0; second < 60; second += 1) {
    for (let count = 0; count < 12; count += 1) await podOfKey(thumbprint(second * 12 + count + 10_000));
    // After five seconds, the made-up keys have spent the budget. From then on, we ask for the listed Pod's key, which must still be found.
    if (second >= 5) found.push(await podOfKey(thumbprint(7)));
    isolate.nowMs += 1_000;
  }
  expect(new Set(found)).toEqual(new Set(["pod-a"]));
});

test("key of one of 60 Pods: once found, it stays known while strangers spend the budget for made-up keys", async () => {
  const pods = Array.from({ length: 60 }, (_, index) => `pod-${index}`);
  await kv.kv.put("directory", JSON.stringify({ v: 1, pods, revision: 1 }));
  await kv.kv.put(`key/${thumbprint(8)}`, JSON.stringify({ v: 1, pod: "pod-8" }));
  expect(await podOfKey(thumbprint(8))).toBe("pod-8");
  isolate.nowMs += 31_000;
  for (let count = 0; count < 60; count += 1) await podOfKey(thumbprint(count + 20_000));
  expect(await podOfKey(thumbprint(8))).toBe("pod-8");
  await kv.kv.delete(`key/${thumbprint(8)}`);
  isolate.nowMs += 31_000;
  expect(await podOfKey(thumbprint(8))).toBeNull();
});
