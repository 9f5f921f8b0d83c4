import { expect, test } from "vitest";
import { checkTopology } from "../../src/topology/check.ts";
import { formatPath } from "../../src/topology/mistake.ts";

const cdn = { scheme: "public", baseUrl: "https://cdn.test" };
const key = { kty: "RSA", kid: "k", alg: "RS256", n: "n", e: "AQAB" };
const pod = {
  registry: "https://registry.test",
  token: "https://token.test/jwt/auth",
  issuer: "issuer",
  audience: "audience",
  keys: [key],
};
const rules = { auth: "token", plainHttp: "nowhere", edgeHosts: ["edge.test"], seals: "unchecked" } as const;

function mistakesOf(...stores: readonly object[]): string {
  const checked = checkTopology({ pods: { "pod-a": { ...pod, blobs: { stores } } } }, rules);
  return checked.ok ? "" : checked.error.map(({ path, text }) => `${formatPath(path)}: ${text}`).join("\n");
}

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
])("a topology with a store that %s is a mistake at that store", (_, stores, text) => {
  expect(mistakesOf(...stores)).toContain(text);
});
