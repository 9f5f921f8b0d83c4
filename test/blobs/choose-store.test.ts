import * as v from "valibot";
import { expect, test } from "vitest";
import { type Client, storesFor } from "../../src/blobs/choose-store.ts";
import type { Pod } from "../../src/directory/directory.ts";
import { storeSchema } from "../../src/signers/index.ts";

const unknown: Client = { country: null, continent: null, asn: null, colo: null, ip: null };
const podWith = (stores: readonly object[]) =>
  ({ blobs: { stores: stores.map((store) => v.parse(storeSchema, store)) } }) as unknown as Pod;
const named = (name: string, when?: object) => ({
  scheme: "public",
  baseUrl: `https://${name}.test`,
  ...(when === undefined ? {} : { when }),
});

const pod = podWith([
  named("office", { cidrs: ["192.0.2.0/24", "2001:db8:1::/48"] }),
  named("aws-frankfurt", { asns: [16509, 14618], countries: ["DE"] }),
  named("aws", { asns: [16509, 14618] }),
  { scheme: "pod", when: { countries: ["CN"] } },
  named("near-fra", { colos: ["FRA", "MUC"] }),
  named("europe", { continents: ["EU"] }),
  named("tor", { countries: ["T1"] }),
]);

test.each<[string, Partial<Client>, string | null]>([
  ["a client in a block", { ip: "192.0.2.9", asn: 16509, country: "DE" }, "office"],
  ["a client in a block of IPv6", { ip: "2001:db8:1:2::3" }, "office"],
  ["a client whose IPv4 address is mapped", { ip: "::ffff:192.0.2.9" }, "office"],
  ["a client next to the block", { ip: "192.0.3.1" }, null],
  ["a client with both ASN and country", { asn: 14618, country: "DE" }, "aws-frankfurt"],
  ["a client with the ASN in another country", { asn: 14618, country: "US", ip: "198.51.100.7" }, "aws"],
  ["a client with the country, on its continent", { country: "DE", continent: "EU", asn: 3320 }, "europe"],
  ["a client for whom the Pod redirects", { country: "CN", continent: "AS" }, null],
  ["a client at a colo", { colo: "MUC", continent: "EU" }, "near-fra"],
  ["a client of Tor", { country: "T1" }, "tor"],
  ["a client that fits no store", { country: "JP", continent: "AS", asn: 2516, colo: "NRT", ip: "203.0.113.5" }, null],
  ["an unknown client", {}, null],
  ["a client whose address does not parse", { ip: "unknown" }, null],
])("%s is sent to the right store", (_, client, store) => {
  const [chosen] = storesFor(pod, { ...unknown, ...client }, new WeakMap());
  const name = chosen?.scheme === "public" ? new URL(chosen.baseUrl).hostname.replace(".test", "") : null;
  expect(name).toBe(store);
});

test("a store without a condition fits every client, even an unknown one", () => {
  const last = podWith([named("europe", { continents: ["EU"] }), named("world")]);
  expect(storesFor(last, unknown, new WeakMap())).toMatchObject([{ baseUrl: "https://world.test" }]);
  expect(storesFor(podWith([named("world", {})]), unknown, new WeakMap())).toMatchObject([
    { baseUrl: "https://world.test" },
  ]);
  expect(storesFor(podWith([]), unknown, new WeakMap())).toEqual([]);
});
