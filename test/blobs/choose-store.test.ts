import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { chooseStores, storesFor } from "../../src/blobs/choose-store.ts";
import type { Client } from "../../src/directory/clients.ts";
import type { Directory, Pod } from "../../src/directory/directory.ts";
import { freshValues } from "../../src/directory/kv.ts";
import { createIsolate } from "../../src/isolate.ts";
import { err, ok } from "../../src/lib/result.ts";
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

describe("the choice of a Pod's stores by their health", () => {
  const probed = (stores: readonly object[]) => ({ ...podWith(stores), state: "active", probe: {} }) as unknown as Pod;
  const three = probed([named("one"), named("two"), { scheme: "pod" }]);
  const verdict = (name: string, state: "in" | "out") => ({
    ...{ pod: "pod-a", place: `${name}.test`, state, since: "2026-03-01T12:00:00.000Z" },
    ...(state === "out" ? { why: "answered 503" } : {}),
  });
  const healthOf = (...stores: readonly object[]) => JSON.stringify({ v: 1, stores });
  const outSince = (index: number) => `blobs.stores.${index} is out since 2026-03-01T12:00:00.000Z: answered 503`;

  const failing = Symbol("KV fails");

  async function choose(chosenFrom: Pod, health: string | null | typeof failing) {
    const keysRead: string[] = [];
    const readKv: Directory["readKv"] = async (keys) => {
      keysRead.push(...keys);
      return health === failing ? err("KV is gone") : ok(freshValues(new Map([["health", health]])));
    };
    const { stores, passedOver } = await chooseStores({ ...chosenFrom, id: "pod-a" } as Pod, unknown, {
      directory: { readKv, parsedRecords: createIsolate().parsedRecords } as Directory,
      parsedCidrs: new WeakMap(),
    });
    const names = stores.map((store) => (store.scheme === "public" ? new URL(store.baseUrl).hostname : store.scheme));
    return { names, passedOver, keysRead };
  }

  const inOrder = ["one.test", "two.test", "pod"];
  test.each<[string, string | null | typeof failing, readonly string[], string | null]>([
    ["no verdict was written yet", null, inOrder, null],
    ["all are in", healthOf(verdict("one", "in"), verdict("two", "in")), inOrder, null],
    ["the first is out", healthOf(verdict("one", "out")), ["two.test", "pod", "one.test"], outSince(0)],
    ["the second is out", healthOf(verdict("two", "out")), ["one.test", "pod", "two.test"], null],
    [
      "only the Pod itself is left",
      healthOf(verdict("one", "out"), verdict("two", "out")),
      ["pod", "one.test", "two.test"],
      `${outSince(0)}; ${outSince(1)}`,
    ],
    ["only another Pod's store is out", healthOf({ ...verdict("one", "out"), pod: "pod-b" }), inOrder, null],
    ["the record does not parse", '{"v":2}', inOrder, null],
    ["KV fails", failing, inOrder, null],
  ])("is the record's order, but with stores that are out at the end, if %s", async (_, health, names, passedOver) => {
    expect(await choose(three, health)).toEqual({ names, passedOver, keysRead: ["health"] });
  });

  test("is the record's order if all stores that fit are out", async () => {
    const both = healthOf(verdict("one", "out"), verdict("two", "out"));
    const { names, passedOver } = await choose(probed([named("one"), named("two")]), both);
    expect([names, passedOver]).toEqual([["one.test", "two.test"], null]);
  });

  test("costs no read of KV if only one store fits the client", async () => {
    const near = probed([named("near", { countries: ["DE"] }), named("one")]);
    expect(await choose(near, healthOf(verdict("one", "out")))).toEqual({
      names: ["one.test"],
      passedOver: null,
      keysRead: [],
    });
  });

  test("ignores an old verdict, without a read of KV, if the Pod no longer has a probe", async () => {
    const unchecked = podWith([named("one"), named("two")]);
    expect(await choose(unchecked, healthOf(verdict("one", "out")))).toEqual({
      names: ["one.test", "two.test"],
      passedOver: null,
      keysRead: [],
    });
  });
});
