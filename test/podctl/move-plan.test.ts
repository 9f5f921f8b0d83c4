import { describe, expect, test } from "vitest";
import { type Digest, parseDigest } from "../../src/oci/digest.ts";
import type { Tag } from "../../src/oci/reference.ts";
import type { Prefix } from "../../src/oci/repository-name.ts";
import { differencesOf, sizeOf, workOf } from "../../src/podctl/move/differences.ts";
import { isInGroup } from "../../src/podctl/move/group.ts";
import { digestedPart, partsOf } from "../../src/podctl/move/manifest-parts.ts";
import { fallbackTag, fingerprintOf, type Snapshot } from "../../src/podctl/move/snapshot.ts";

const digestOf = (letter: string): Digest => {
  const parsed = parseDigest(`sha256:${letter.repeat(64)}`);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
};
const [a, b, c, d] = ["a", "b", "c", "d"].map(digestOf) as [Digest, Digest, Digest, Digest];

function snapshotOf(
  tags: Readonly<Record<string, Digest>>,
  others: Partial<Snapshot> & { readonly also?: readonly Digest[] } = {},
): Snapshot {
  const { also = [], ...rest } = others;
  return {
    children: new Map(),
    referrers: new Map(),
    listsReferrers: false,
    tags: new Map(Object.entries(tags) as [Tag, Digest][]),
    manifests: new Set([...Object.values(tags), ...also]),
    ...rest,
  };
}

describe("what a copy lacks", () => {
  test("equal repositories need no work and differ in nothing", () => {
    const one = snapshotOf({ "1": a, latest: a, "2": b }, { also: [c] });
    expect(sizeOf(workOf(one, one))).toBe(0);
    expect(differencesOf("acme/app", [one, "pod-a"], [one, "pod-b"])).toEqual([]);
  });

  test("new and moved tags are written, tags that are gone are removed, and manifests without a tag are copied", () => {
    const source = snapshotOf({ "1": a, latest: b }, { also: [c] });
    const target = snapshotOf({ "1": a, latest: a, old: d });
    expect(workOf(source, target)).toEqual({
      manifests: [b, c],
      tags: [["latest", b]],
      gone: ["old"],
      dead: [d],
      fallbacks: [],
    });
    expect(differencesOf("acme/app", [source, "pod-a"], [target, "pod-b"])).toEqual([
      `acme/app:latest is ${b} at pod-a and ${a} at pod-b`,
      `acme/app:old is nothing at pod-a and ${d} at pod-b`,
      `acme/app@${b} is at pod-a and not at pod-b`,
      `acme/app@${c} is at pod-a and not at pod-b`,
    ]);
  });

  test("where only the source lists referrers, a tag takes the list's place, and is no difference", () => {
    const referrers = new Map([[a, [{ digest: b, descriptor: {} }]]]);
    const source = snapshotOf({ "1": a }, { also: [b], referrers, listsReferrers: true });
    const empty = snapshotOf({});
    expect(workOf(source, empty).fallbacks).toEqual([a]);
    const target = snapshotOf({ "1": a, [fallbackTag(a)]: c }, { also: [b], referrers });
    expect(workOf(source, target)).toMatchObject({ gone: [], dead: [], manifests: [], tags: [] });
    expect(differencesOf("acme/app", [source, "pod-a"], [target, "pod-b"])).toEqual([]);
    // The manifest `d` has no referrers. So a tag that looks like the list of its referrers is removed like any other tag.
    const other = snapshotOf({ "1": a, [fallbackTag(d)]: c }, { also: [b], referrers });
    expect(workOf(source, other).gone).toEqual([fallbackTag(d)]);
  });

  test("a referrer that is missing is a difference", () => {
    const source = snapshotOf(
      { "1": a },
      { also: [b], referrers: new Map([[a, [{ digest: b, descriptor: {} }]]]), listsReferrers: true },
    );
    const target = snapshotOf({ "1": a }, { also: [b], listsReferrers: true });
    expect(differencesOf("acme/app", [source, "pod-a"], [target, "pod-b"])).toEqual([
      `the referrers of acme/app@${a} are ${b} at pod-a and none at pod-b`,
    ]);
  });

  test("where only the target lists referrers, a referrer that it lacks is a difference, and a further one is not", () => {
    const referring = (...digests: readonly Digest[]) => ({
      also: [b, c],
      referrers: new Map([[a, digests.map((digest) => ({ digest, descriptor: {} }))]]),
    });
    const source = snapshotOf({ "1": a }, referring(b));
    const targetWith = (...digests: readonly Digest[]) =>
      snapshotOf({ "1": a }, { ...referring(...digests), listsReferrers: true });
    const differences = (target: Snapshot) => differencesOf("acme/app", [source, "pod-a"], [target, "pod-b"]);
    expect(differences(targetWith(c, b))).toEqual([]);
    expect(differences(targetWith(c))).toEqual([`the referrers of acme/app@${a} are ${b} at pod-a and none at pod-b`]);
  });

  test("the fingerprint of a repository changes with each tag, manifest and referrer, and not with their order", () => {
    const one = snapshotOf({ "1": a, "2": b });
    const others = [
      snapshotOf({ "1": a, "2": c }),
      snapshotOf({ "1": a, "3": b }),
      snapshotOf({ "1": a, "2": b }, { also: [c] }),
      snapshotOf({ "1": a, "2": b }, { referrers: new Map([[a, [{ digest: b, descriptor: {} }]]]) }),
    ];
    expect(new Set([one, ...others].map(fingerprintOf)).size).toBe(5);
    expect(fingerprintOf(snapshotOf({ "2": b, "1": a }))).toBe(fingerprintOf(one));
  });
});

describe("what a manifest names", () => {
  const bytesOf = (manifest: object) => Buffer.from(JSON.stringify(manifest));
  const blob = (digest: string, more: object = {}) => ({
    mediaType: "application/vnd.oci.image.layer.v1.tar",
    digest,
    size: 3,
    ...more,
  });

  test.each<[string, object, object]>([
    ["an image", { config: blob(a), layers: [blob(b), blob(b), blob(c)] }, { blobs: [a, b, c], children: [] }],
    [
      "an image for two platforms",
      { manifests: [{ mediaType: "application/vnd.oci.image.manifest.v1+json", digest: a }, { digest: b }] },
      { blobs: [], children: [a, b] },
    ],
    [
      "a build cache, whose index names layers",
      { manifests: [blob(a), { mediaType: "application/vnd.oci.image.index.v1+json", digest: b }] },
      { blobs: [a], children: [b] },
    ],
    ["a signature", { config: blob(a), layers: [], subject: { digest: b } }, { blobs: [a], children: [] }],
    ["an artifact", { blobs: [blob(a)], subject: { digest: b } }, { blobs: [a], children: [] }],
    [
      "an image of docker's first schema",
      { fsLayers: [{ blobSum: a }, { blobSum: b }, { blobSum: a }] },
      { blobs: [a, b], children: [] },
    ],
    [
      "an odd manifest",
      { config: 1, layers: { a: 1 }, manifests: [null, 3, { digest: "sha256:short" }], subject: "x" },
      { blobs: [], children: [] },
    ],
  ])("%s", (_, manifest, expected) => {
    const { blobs, ...rest } = partsOf(bytesOf(manifest));
    expect({ blobs: blobs.map(({ digest }) => digest), ...rest }).toEqual(expected);
  });

  test("a layer that is elsewhere need not be at the registry", () => {
    const layers = [
      blob(a, { urls: ["https://example.com/a"] }),
      blob(b, { mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" }),
      blob(c, { urls: [] }),
    ];
    expect(partsOf(bytesOf({ layers })).blobs.map(({ elsewhere }) => elsewhere)).toEqual([true, true, false]);
  });

  test("the digest of docker's first schema leaves out the signatures, because a registry signs anew for each answer", () => {
    const type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    const unsigned = '{\n   "schemaVersion": 1,\n   "name": "acme/old"\n}';
    const signed = (signature: string) => {
      const format = JSON.stringify({ formatLength: unsigned.length - 2, formatTail: "Cn0", time: signature });
      const signatures = [{ signature, protected: Buffer.from(format).toString("base64url") }];
      return Buffer.from(`${unsigned.slice(0, -2)},\n   "signatures": ${JSON.stringify(signatures)}\n}`);
    };
    for (const signature of ["one", "other"])
      expect(Buffer.from(digestedPart(signed(signature), type)).toString()).toBe(unsigned);
    for (const odd of [unsigned, '{"signatures":[{"protected":3}]}', "<html>"])
      expect(Buffer.from(digestedPart(Buffer.from(odd), type)).toString()).toBe(odd);
  });

  test("bytes that are not JSON name nothing", () => {
    expect(partsOf(Buffer.from("<html>"))).toEqual({ blobs: [], children: [] });
  });
});

test("a group has the repositories below its prefix, without those of a deeper assignment", () => {
  const group = { prefix: "acme" as Prefix, without: ["acme/team" as Prefix] };
  const names = ["acme", "acme/app", "acme/teams", "acme/team", "acme/team/app", "acmecorp/app", "other/acme"];
  expect(names.filter((name) => isInGroup(name, group))).toEqual(["acme", "acme/app", "acme/teams"]);
});
