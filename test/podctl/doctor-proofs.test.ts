import { describe, expect, test } from "vitest";
import { generateSealingKeys } from "../../src/directory/seal.ts";
import { findings, passed, useDoctor } from "../support/doctor.ts";
import { startProxy } from "../support/proxy.ts";
import type { Sickness } from "../support/sick-pods.ts";

const { check, healthy, pushProbeImage, mountProbe, addOwning, addTrusting } = useDoctor(await generateSealingKeys());

type Lack = {
  readonly isLacking?: () => boolean;
  readonly answer?: { readonly inPlace: number; readonly body?: string };
};

/** S3 answers this about a missing object, if the key may not list the bucket. */
const mayNotList = { inPlace: 403, body: "<Error><Code>AccessDenied</Code></Error>" };

/** A pull-through cache lacks a blob in its storage if its clients have pulled only the manifest. */
async function storageWithout(
  digest: string,
  { isLacking = () => true, answer = { inPlace: 404 } }: Lack = {},
): Promise<Sickness> {
  const storage = String(healthy("pod-b").blobs.stores[0]?.["endpoint"]);
  const encoded = digest.split(":")[1] ?? "";
  const proxy = await startProxy(storage, ({ url }) => (url?.includes(encoded) && isLacking() ? answer : null));
  return { store: { endpoint: proxy.replace("127.0.0.1", "localhost") } };
}

const byManifest: Sickness = { proof: "manifest" };

describe("doctor and a Pod with `proof: manifest`:", () => {
  test("nothing is wrong if the storage has all blobs of the image with the probe's blob", async () => {
    await pushProbeImage("well");
    await addOwning("well", byManifest);
    const checks = await check({ pods: ["well"], write: true });
    expect([findings(checks), passed(checks, "well")]).toEqual([[], expect.arrayContaining(["manifest proof"])]);
  });

  test.each([
    ["that podctl reaches", "lacking", addOwning],
    ["that only the edge may reach", "lacking-trusting", addTrusting],
  ])("a Pod %s has a finding if a manifest proves a blob that its storage does not have", async (_, id, add) => {
    const config = await pushProbeImage(id);
    await add(id, { ...byManifest, ...(await storageWithout(config)) });
    for (const write of [false, true]) {
      const checks = await check({ pods: [id], write });
      expect(findings(checks)).toEqual([`${id}: proof-without-blob`]);
      expect(JSON.stringify(checks)).toContain(config);
    }
  });

  test("a storage that answers 403 AccessDenied for a missing blob, as S3 does if the key may not list, has the same finding", async () => {
    const config = await pushProbeImage("unlisted");
    await addOwning("unlisted", { ...byManifest, ...(await storageWithout(config, { answer: mayNotList })) });
    expect(findings(await check({ pods: ["unlisted"] }))).toEqual(["unlisted: proof-without-blob"]);
  });

  test.each([
    ["404", "late", { inPlace: 404 }],
    ["403", "late-unlisted", mayNotList],
  ])("a store is not wrong if it answers %s until the registry has answered for the blob", async (_, id, answer) => {
    await pushProbeImage(id);
    const { digest } = healthy("pod-b").probe;
    let asked = 0;
    const late = await storageWithout(digest, { isLacking: () => ++asked <= 2, answer });
    await addOwning(id, { ...byManifest, ...late });
    expect(findings(await check({ pods: [id] }))).toEqual([]);
    expect(asked).toBeGreaterThan(3);
  });

  test("the check is skipped if the repository has no image with the probe's blob", async () => {
    await mountProbe("untagged");
    await addOwning("untagged", byManifest);
    const checks = await check({ pods: ["untagged"] });
    expect(findings(checks)).toEqual([]);
    expect(checks).toContainEqual(expect.objectContaining({ check: "manifest proof", status: "skipped" }));
  });
});

test("doctor does not ask for the blobs of an image if manifests prove nothing", async () => {
  const config = await pushProbeImage("by-head");
  await addOwning("by-head", await storageWithout(config));
  const checks = await check({ pods: ["by-head"] });
  expect([findings(checks), passed(checks, "by-head")]).toEqual([[], expect.not.arrayContaining(["manifest proof"])]);
});
