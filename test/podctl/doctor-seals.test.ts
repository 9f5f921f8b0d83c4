import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { generateSealingKeys, seal } from "../../src/directory/seal.ts";
import { checkSeals } from "../../src/podctl/doctor/check-seals.ts";
import { directoryOf } from "../support/doctor.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";

const [older, newest] = await Promise.all([generateSealingKeys(), generateSealingKeys()]);
const { kid: _, ...unnamed } = newest.privateJwk;
const keysOf = (...keys: readonly object[]) => ({ SEALING_KEYS: JSON.stringify(keys) });
const rotated = useStack({
  sealingKeys: older,
  env: keysOf(newest.privateJwk, older.privateJwk),
  seedImages: false,
});
const handmade = useStack({ sealingKeys: older, env: keysOf(unnamed), seedImages: false });

type Record = { readonly blobs: { readonly stores: readonly object[] } };

async function check({ current }: typeof rotated, change: (pod: string, record: Record) => object | Promise<object>) {
  const texts = new Map<string, string>();
  for (const [key, text] of await readStackKv(current, ["pod/pod-a", "pod/pod-b"])) {
    texts.set(key, JSON.stringify(await change(key.slice("pod/".length), JSON.parse(text ?? "") as Record)));
  }
  const probeToken = await readFile(`${current.stateDir}/probe-token`, "utf8");
  return checkSeals(directoryOf(texts), ["pod-a", "pod-b"], { edge: current.edge, probeToken });
}

test("after a key rotation, doctor names each value that is not sealed for the newest key", async () => {
  const sealedAgain = async (pod: string, record: Record) => {
    const place = { pod, field: "blobs.stores.0.credentials", scheme: "s3", target: pod };
    const credentials = await seal("{}", place, newest.publicJwk);
    return { ...record, blobs: { ...record.blobs, stores: [{ ...record.blobs.stores[0], credentials }] } };
  };
  const found = (pod: string) => ({
    finding: "sealed-before",
    text: `Pod "${pod}", field "blobs.stores.0.credentials", is not sealed for the Worker's newest key`,
  });
  expect(await check(rotated, (_pod, record) => record)).toMatchObject([found("pod-a"), found("pod-b")]);
  const half = await check(rotated, (pod, record) => (pod === "pod-a" ? sealedAgain(pod, record) : record));
  expect(half).toMatchObject([found("pod-b")]);
  expect(await check(rotated, sealedAgain)).toMatchObject([{ status: "ok", text: "2 values, for the newest key" }]);
});

test("doctor says that it cannot compare sealed values with a key that has no kid", async () => {
  expect(await check(handmade, (_pod, record) => record)).toMatchObject([
    { check: "sealed values", status: "skipped", text: expect.stringContaining('has no "kid"') },
  ]);
});
