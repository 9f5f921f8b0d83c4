import { describe, expect, test } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import { parseTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import { directorySteps } from "../../src/topology/record-text.ts";
import { topologyRecords } from "../../src/topology/topology.ts";
import { keyOf, podText, production, topologyOf } from "../support/topologies.ts";

const registry = "https://registry.example.net";
const issuer = "one-issuer";
const store = (bucket: string, more: object = {}) => ({
  scheme: "s3",
  endpoint: "https://s3.example.net",
  region: "us-east-1",
  bucket,
  addressing: "virtual-host",
  credentials: "not sealed",
  ...more,
});
const shared = { registry, issuer, blobs: { stores: [store("one")] } };

const text = (...pods: readonly object[]): string =>
  ["pods:", ...pods.map((more, index) => `  pod-${index}: ${podText(`pod-${index}`, { ...shared, ...more })}`)].join(
    "\n",
  );

function mistakesOf(topology: string): readonly string[] {
  const parsed = parseTopology("t.yaml", topology, { ...production, seals: "unchecked", placeholders: null });
  return parsed.ok ? [] : parsed.error.map((mistake) => formatMistake(mistake).replace(/^t\.yaml:\d+:\d+: /, ""));
}

describe("Pods of one registry", () => {
  test("they are allowed if they agree on issuer, audience and storage and have their own keys, and each has its own records", () => {
    expect(mistakesOf(text({}, {}, {}))).toEqual([]);
    const pods = ["pod-a", "pod-b"].map((id) => `  ${id}: ${podText(id, { registry, issuer })}`);
    const records = new Map(topologyRecords(topologyOf(["pods:", ...pods].join("\n"))));
    expect(records.get("directory")).toMatchObject({ sharedRegistries: [["pod-a", "pod-b"]] });
    expect(records.get("key/pod-a")).toEqual({ pod: "pod-a" });
    expect(records.get("key/pod-b")).toEqual({ pod: "pod-b" });
    expect(records.get("pod/pod-b")).toMatchObject({ registry, token: "https://pod-b.example.net/jwt/auth" });
  });

  test.each<[string, object]>([
    ["the order of the stores", { blobs: { stores: [store("two"), store("one")] } }],
    ["the form of a bucket's host", { blobs: { stores: [store("one", { addressing: "path" }), store("two")] } }],
    ["the way to prove", { blobs: { proof: "manifest", stores: [store("one"), store("two")] } }],
    ["the state", { blobs: { stores: [store("one"), store("two")] }, state: "read-only", reason: "moved" }],
  ])("%s need not be the same", (_, more) => {
    const both = { stores: [store("one", { when: { countries: ["DE"] } }), store("two")] };
    expect(mistakesOf(text({ blobs: both }, more))).toEqual([]);
  });

  test.each<[string, object, string]>([
    [
      "issuer",
      { issuer: "other" },
      'pods.pod-1.issuer: "other" is not the issuer of Pod "pod-0", which has the same registry; want "one-issuer" in both',
    ],
    [
      "audience",
      { audience: "other" },
      'pods.pod-1.audience: "other" is not the audience of Pod "pod-0", which has the same registry; want "container_registry" in both',
    ],
    [
      "bucket",
      { blobs: { stores: [store("other")] } },
      'pods.pod-1.blobs.stores: are at other places than those of Pod "pod-0", which has the same registry; want the same storage in both',
    ],
    ["way to the storage", { blobs: { stores: [{ scheme: "pod" }] } }, "want the same storage in both"],
    ["number of stores", { blobs: { stores: [] } }, "want the same storage in both"],
    [
      "storage of a third Pod's registry",
      { registry: "https://other.example.net", issuer: "other" },
      'storage "one.s3.example.net" is also used by Pod "pod-0"; no two Pods may share one',
    ],
    [
      "issuer of a third Pod's registry",
      { registry: "https://other.example.net", blobs: { stores: [store("other")] } },
      'issuer "one-issuer" is also used by Pod "pod-0"; no two Pods may share one',
    ],
    ["kid", { keys: [keyOf("pod-0")] }, 'kid "pod-0" is also used by Pod "pod-0"; no two Pods may share one'],
    [
      "key under another kid",
      { keys: [{ ...keyOf("pod-0"), kid: "renamed" }] },
      'pods.pod-1.keys[0]: the key of kid "renamed" is also used by Pod "pod-0"; no two Pods may share one',
    ],
  ])("a wrong %s is one mistake, which names the other Pod", (_, more, mistake) => {
    expect(mistakesOf(text({}, more))).toEqual([expect.stringContaining(mistake)]);
  });

  test("the directory record says that Pods share a registry before it changes otherwise, and as long as they may", () => {
    const shares = [["pod-a", "pod-b"]].map((ids) => ids.map((id) => id as PodId));
    const pods = shares.flat();
    const before = { v: 1, revision: 1, credentials: "own", pods } as const;
    const stepsOf = (from: object, to: object) => {
      const { widened, settled } = directorySteps({ ...before, ...from }, { ...before, ...to });
      return [widened, settled].map((text) => (text === null ? null : (JSON.parse(text) as object)));
    };
    const sharing = expect.objectContaining({ sharedRegistries: shares });
    expect(stepsOf({}, { sharedRegistries: shares })).toEqual([sharing, sharing]);
    expect(stepsOf({ sharedRegistries: shares }, { sharedRegistries: shares })).toEqual([null, null]);
    expect(stepsOf({ sharedRegistries: shares }, {})).toEqual([
      null,
      expect.not.objectContaining({ sharedRegistries: shares }),
    ]);
  });

  test("more than eight Pods may have one registry", () => {
    expect(mistakesOf(text({}, {}, {}, {}, {}, {}, {}, {}, {}, {}))).toEqual([]);
  });

  test("one Pod may name a key by two kids", () => {
    expect(mistakesOf(text({ keys: [keyOf("pod-0"), { ...keyOf("pod-0"), kid: "renamed" }] }))).toEqual([]);
  });
});
