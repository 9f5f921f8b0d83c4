import { afterAll, beforeEach, expect, test } from "vitest";
import { createKvCache, createReadKv } from "../../src/directory/cached-kv.ts";
import { createDirectory } from "../../src/directory/directory.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import { startKv } from "../support/kv.ts";

const kv = await startKv();
afterAll(() => kv.stop());

let nowMs = 0;
let reads = 0;
let cache = createKvCache();
beforeEach(() => {
  cache = createKvCache();
  nowMs = 1_000_000;
  reads = 0;
});

const directory = () => {
  const onRead = () => {
    reads += 1;
  };
  return createDirectory(
    createReadKv(kv.kv, cache, () => new Date(nowMs), onRead),
    "allow",
  );
};
const podOfKey = async (kid: string) => {
  const pod = await directory().podOfKey(kid);
  return pod.ok ? pod.value : pod.error.text;
};
const thumbprint = (index: number) => String(index).padStart(43, "k");
const libtrust = `${"AB23:".repeat(11)}AB23`;

test("a key is looked up once in an interval, known or not", async () => {
  await kv.kv.put(`key/${libtrust}`, JSON.stringify({ v: 1, pod: "pod-a" }));
  for (let request = 0; request < 5; request += 1) {
    expect([await podOfKey(libtrust), await podOfKey(thumbprint(1))]).toEqual(["pod-a", null]);
  }
  expect(reads).toBe(2);
});

test("a key that was not there is found once the interval is over", async () => {
  expect(await podOfKey(thumbprint(2))).toBeNull();
  await kv.kv.put(`key/${thumbprint(2)}`, JSON.stringify({ v: 1, pod: "pod-b" }));
  expect(await podOfKey(thumbprint(2))).toBeNull();
  nowMs += 16_000;
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
])("%j is no key's name, and is not looked up", async (kid) => {
  expect([await podOfKey(kid), reads]).toEqual([null, 0]);
});

test("made-up keys and Pods cost a bounded number of reads, known ones go on", async () => {
  await kv.kv.put(`key/${thumbprint(0)}`, JSON.stringify({ v: 1, pod: "pod-a" }));
  await kv.kv.put("directory", JSON.stringify({ v: 1, pods: ["pod-a"], credentials: "own", revision: 1 }));
  expect(await podOfKey(thumbprint(0))).toBe("pod-a");
  for (let index = 1; index <= 200; index += 1) {
    await podOfKey(thumbprint(index + 1_000));
    await directory().claimedPod(`pod-${index}` as PodId);
  }
  // One for the directory record beside the budget of 50.
  expect(reads).toBe(51);
  expect(await podOfKey(thumbprint(0))).toBe("pod-a");
  await directory().claimedPod("pod-a" as PodId);
  expect(reads).toBe(52);
  nowMs += 10_000;
  await podOfKey(thumbprint(9_999));
  expect(reads).toBe(53);
});
