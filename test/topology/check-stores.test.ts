import { describe, expect, test } from "vitest";
import { checkTopology } from "../../src/topology/check.ts";
import { formatPath } from "../../src/topology/mistake.ts";
import { keyOf } from "../support/topologies.ts";

const cdn = { scheme: "public", baseUrl: "https://cdn.test" };
const pod = {
  registry: "https://registry.test",
  token: "https://token.test/jwt/auth",
  issuer: "issuer",
  audience: "audience",
  keys: [keyOf("k")],
};
const rules = {
  auth: "token",
  plainHttp: "nowhere",
  edgeHosts: ["edge.test"],
  realm: null,
  seals: "unchecked",
} as const;

function mistakesIn(blobs: object): string {
  const checked = checkTopology({ pods: { "pod-a": { ...pod, blobs } } }, rules);
  return checked.ok ? "" : checked.error.map(({ path, text }) => `${formatPath(path)}: ${text}`).join("\n");
}

const mistakesOf = (...stores: readonly object[]): string => mistakesIn({ stores });

test("a topology may have stores with conditions before a store for all", () => {
  expect(mistakesOf({ ...cdn, when: { continents: ["EU"] } }, { scheme: "pod", when: { asns: [64_500] } }, cdn)).toBe(
    "",
  );
});

test.each<[string, readonly object[], string]>([
  [
    "no client reaches",
    [cdn, { ...cdn, when: { countries: ["DE"] } }],
    "stores[1]: is never chosen, because stores.0 comes first",
  ],
  ["fits no client", [{ ...cdn, when: { colos: [] } }], "stores[0]: when.colos: is empty, so it fits no client"],
  [
    "names a country that does not exist",
    [{ ...cdn, when: { countries: ["UK"] } }],
    'stores[0]: when.countries: "UK" is not an ISO 3166-1',
  ],
  [
    "has a bad block",
    [cdn, { ...cdn, when: { cidrs: ["10.0.0.0/33"] } }],
    'stores[1].when.cidrs[0]: "10.0.0.0/33" is wrong; want a block',
  ],
  ["has an unknown condition", [{ ...cdn, when: { country: ["DE"] } }], "stores[0].when.country: is not a member here"],
  ["has an unknown scheme", [{ ...cdn, scheme: "s4" }], 'stores[0].scheme: "s4" is wrong; want "s3" or "s3-v4a"'],
  ["is on plain HTTP", [{ ...cdn, baseUrl: "http://cdn.test" }], "is not encrypted; want https"],
  ["is below the edge", [{ ...cdn, baseUrl: "https://cdn.edge.test" }], "clients would send it their tokens"],
  ["has dots in its path", [{ ...cdn, prefix: "a/../b" }], "want a path without slashes at its ends and without dot"],
])("a topology with a store that %s has a mistake at that store", (_, stores, text) => {
  expect(mistakesOf(...stores)).toContain(text);
});

const s3 = { scheme: "s3", endpoint: "https://s3.test", region: "r", bucket: "blobs", credentials: "sealed" };
const azure = {
  scheme: "azure",
  endpoint: "https://acc.blob.test",
  account: "acc",
  container: "blobs",
  credentials: "s",
};

function mistakesOfTwo(ofA: readonly object[], ofB: readonly object[]): readonly string[] {
  const other = { ...pod, registry: "https://b.test", issuer: "b", keys: [keyOf("b")] };
  const pods = { "pod-a": { ...pod, blobs: { stores: ofA } }, "pod-b": { ...other, blobs: { stores: ofB } } };
  const checked = checkTopology({ pods }, rules);
  return checked.ok ? [] : checked.error.map(({ path, text }) => `${formatPath(path)}: ${text}`);
}

describe("storage of two Pods", () => {
  test.each<[string, object, object, string]>([
    ["one bucket", s3, s3, "blobs.s3.test"],
    ["one directory of a bucket", { ...s3, prefix: "a/b" }, { ...s3, prefix: "a/b" }, "blobs.s3.test/a/b"],
    ["one bucket, in the path and before the host", s3, { ...s3, addressing: "virtual-host" }, "blobs.s3.test"],
    [
      "one bucket, in the path and as its own host",
      s3,
      { ...s3, addressing: "bound-host", endpoint: "https://blobs.s3.test" },
      "blobs.s3.test",
    ],
    [
      "one bucket, with another region and other credentials",
      s3,
      { ...s3, region: "x", credentials: "y" },
      "blobs.s3.test",
    ],
    [
      "one bucket, by two schemes",
      { scheme: "gcs", endpoint: "https://s3.test", bucket: "blobs", credentials: "s" },
      s3,
      "blobs.s3.test",
    ],
    ["one container", azure, azure, "acc.blob.test/blobs"],
    [
      "one CDN host",
      { ...cdn, scheme: "bunny", credentials: "s" },
      { ...cdn, scheme: "cloudfront", credentials: "s" },
      "cdn.test",
    ],
  ])("is refused if it is %s, because a proof from one Pod would open the other's blobs", (_, ofA, ofB, place) => {
    const mistakes = mistakesOfTwo([ofA], [{ scheme: "pod", when: { asns: [1] } }, ofB]);
    expect(mistakes).toEqual([expect.stringContaining(`pods.pod-b.blobs.stores[1]: storage "${place}"`)]);
    expect(mistakes[0]).toContain('Pod "pod-a"');
  });

  test.each<[string, object, object]>([
    ["another bucket", s3, { ...s3, bucket: "other" }],
    ["another directory of one bucket", s3, { ...s3, prefix: "b" }],
    ["another endpoint", s3, { ...s3, endpoint: "https://s3-b.test" }],
    ["another container of one account", azure, { ...azure, container: "other" }],
    [
      "another account of one emulator",
      { ...azure, addressing: "path" },
      { ...azure, addressing: "path", account: "other" },
    ],
    [
      "another directory of one CDN host",
      { ...cdn, scheme: "bunny", credentials: "s", prefix: "a" },
      { ...cdn, scheme: "bunny", credentials: "s", prefix: "b" },
    ],
    ["one public mirror", cdn, cdn],
    ["each Pod's own redirect", { scheme: "pod" }, { scheme: "pod" }],
  ])("is allowed if it is %s", (_, ofA, ofB) => {
    expect(mistakesOfTwo([ofA], [ofB])).toEqual([]);
  });

  test("one Pod may name its storage in several of its stores", () => {
    expect(mistakesOfTwo([{ ...s3, when: { continents: ["EU"] } }, s3], [cdn])).toEqual([]);
  });
});

test.each([
  ["storage.test:443", "storage.test"],
  ["Storage.test:8443", "storage.test:8443"],
])("a host of redirects in a form that matches no redirect is a mistake: %s", (host, matching) => {
  expect(mistakesIn({ hosts: [host] })).toBe(
    `pods.pod-a.blobs.hosts[0]: "${host}" is a form that matches no redirect; want "${matching}"`,
  );
  expect(mistakesIn({ hosts: [matching] })).toBe("");
});

test.each(["https://10.0.0.5:9000", "https://[2001:db8::1]:9000"])(
  "a bucket as a virtual host of the address %s is a mistake, because an address has no hosts below it",
  (endpoint) => {
    const gcs = { scheme: "gcs", endpoint, bucket: "blobs", credentials: "sealed" };
    for (const store of [{ ...s3, endpoint }, gcs]) {
      expect(mistakesOf({ ...store, addressing: "virtual-host" })).toContain(
        "stores[0]: a mapping is wrong; want a host name as `endpoint` for `addressing: virtual-host`",
      );
      expect(mistakesOf({ ...store, addressing: "path" })).toBe("");
    }
  },
);

test.each(["s3.eu-central-1.amazonaws.com", "storage:9000", "https://", ""])(
  "a bucket's endpoint that is not an origin is a mistake with its place: %j",
  (endpoint) => {
    const gcs = { scheme: "gcs", endpoint, bucket: "blobs", credentials: "sealed" };
    for (const store of [{ ...s3, endpoint }, gcs])
      for (const addressing of ["path", "virtual-host"])
        expect(mistakesOf({ ...store, addressing })).toMatch(
          /^pods\.pod-a\.blobs\.stores\[0\]\.endpoint: .*wrong; want/,
        );
  },
);
