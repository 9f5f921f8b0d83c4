import { describe, expect, test } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import { checkOneRegistry } from "../../src/podctl/doctor/check-one-registry.ts";
import { Checks } from "../../src/podctl/doctor/findings.ts";
import { directoryOf } from "../support/doctor.ts";
import { keyOf } from "../support/topologies.ts";

const record = (id: string, more: object = {}): string =>
  JSON.stringify({
    ...{ v: 1, revision: 1, state: "active", registry: "https://one.test", token: `https://${id}.test/auth` },
    ...{ issuer: "issuer", audience: "audience", keys: [keyOf(id)] },
    ...more,
  });

const both = ["pod-a", "pod-b"];
/** Checks pod-b, whose record has these members, next to a healthy pod-a of the same registry. */
async function check(
  more: object,
  { pods = both, sharedRegistries = [both] }: { pods?: string[]; sharedRegistries?: string[][] } = {},
) {
  const directory = directoryOf(
    new Map([
      ["directory", JSON.stringify({ v: 1, revision: 1, pods, sharedRegistries })],
      ["pod/pod-a", record("pod-a")],
      ["pod/pod-b", record("pod-b", more)],
    ]),
  );
  const pod = await directory.pod("pod-b" as PodId);
  if (!pod.ok || pod.value === null) throw new Error("pod-b has no record");
  const checks = new Checks("pod-b");
  await checkOneRegistry(pod.value, checks, directory);
  return checks.list;
}

describe("doctor and Pods of one registry", () => {
  test("a Pod that agrees with the others of its registry is well, and the others are named", async () => {
    expect(await check({})).toEqual([
      { pod: "pod-b", check: "one registry", status: "ok", text: "also that of pod-a" },
    ]);
  });

  test("a Pod with a registry of its own, and one that the directory does not list, are not compared", async () => {
    expect(await check({ registry: "https://other.test" })).toEqual([]);
    expect(await check({ issuer: "other" }, { pods: ["pod-a"] })).toEqual([]);
  });

  test.each<[string, object, string]>([
    ["issuer", { issuer: "other" }, 'issuer "other" is not the issuer of Pod "pod-a", which has the same registry'],
    ["audience", { audience: "other" }, 'audience "other" is not the audience of Pod "pod-a"'],
    ["storage", { blobs: { stores: [{ scheme: "pod" }] } }, "blobs.stores are at other places than those of Pod"],
    ["kid", { keys: [{ ...keyOf("x"), kid: "pod-a" }] }, 'the key "pod-a" is also a key of Pod "pod-a"'],
    ["key", { keys: [{ ...keyOf("pod-a"), kid: "x" }] }, 'the key "x" is also a key of Pod "pod-a"'],
  ])("a wrong %s is the finding `registry-shared`", async (_, more, text) => {
    expect(await check(more)).toMatchObject([{ finding: "registry-shared", text: expect.stringContaining(text) }]);
  });

  test("a directory record that does not know of the shared registry is a finding, because then the edge takes tokens of either for either", async () => {
    expect(await check({}, { sharedRegistries: [] })).toMatchObject([
      { finding: "registry-shared", text: expect.stringContaining("run `podctl apply`") },
    ]);
  });
});
