import { expect, test } from "vitest";
import { openKvStore } from "../../src/cli/kv-store.ts";
import { account, namespace } from "../support/cloudflare-kv.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const { server, kv } = await useCloudflareKv();

const entriesOf = (count: number) =>
  Array.from(
    { length: count },
    (_, index) => [`route/g${String(index).padStart(6, "0")}`, `{"v":1,"n":${index}}`] as const,
  );

async function listed(prefix?: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const page of kv.list(prefix)) keys.push(...page.map(({ key }) => key));
  return keys;
}

test("10,000 keys are one write, ten pages of a listing with metadata, and one delete", async () => {
  const entries = entriesOf(10_000);
  await kv.write(entries);
  expect(server.calls).toEqual(["PUT /bulk 10000"]);
  server.heal();
  expect(await listed()).toEqual(entries.map(([key]) => key));
  expect(server.calls).toHaveLength(10);
  for await (const [first] of kv.list("route/g000007"))
    expect(first).toEqual({ key: "route/g000007", metadata: { v: 1, n: 7 } });
  server.heal();
  await kv.remove(entries.map(([key]) => key));
  expect(server.calls).toEqual(["POST /bulk/delete 10000"]);
  expect(await listed()).toEqual([]);
});

test("values are read 100 at a time, each key once, and null where there is none", async () => {
  const entries = entriesOf(250);
  await kv.write(entries);
  server.heal();
  const keys = entries.map(([key]) => key);
  const values = await kv.read([...keys, ...keys, "route/none"]);
  expect(server.calls.map((call) => call.split(" ").at(-1))).toEqual(["100", "100", "51"]);
  expect(values).toEqual(new Map([...entries, ["route/none", null]]));
});

test("what is too long for metadata, or would be spelled otherwise, has none", async () => {
  await kv.write([
    ["pod/long", JSON.stringify({ v: 1, text: "x".repeat(1_100) })],
    ["route/spaced", '{ "v": 1 }'],
    ["route/short", '{"v":1}'],
  ]);
  expect([...server.data].map(([key, { metadata }]) => [key, metadata])).toEqual([
    ["pod/long", undefined],
    ["route/spaced", undefined],
    ["route/short", { v: 1 }],
  ]);
});

test("after 429 the call is made again once Retry-After is over", async () => {
  server.limit(1, 1);
  const startedMs = performance.now();
  await kv.write(entriesOf(1));
  expect(performance.now() - startedMs).toBeGreaterThanOrEqual(1_000);
  expect(server.calls).toEqual(["PUT /bulk 1", "PUT /bulk 1"]);
});

test("of a half-failed bulk call only the keys that it left out are sent again", async () => {
  server.failHalf(2);
  await kv.write(entriesOf(8));
  expect(server.calls).toEqual(["PUT /bulk 8", "PUT /bulk 4", "PUT /bulk 2"]);
  expect(await listed()).toHaveLength(8);
  server.heal();
  server.failHalf(1);
  await kv.remove(entriesOf(8).map(([key]) => key));
  expect(server.calls).toEqual(["POST /bulk/delete 8", "POST /bulk/delete 4"]);
});

test("keys that never succeed are named after a bounded number of calls", async () => {
  server.failHalf(100);
  await expect(kv.write(entriesOf(1_000))).rejects.toThrow(
    /^\d+ keys were not written in 5 tries, "route\/g\d+" among them/,
  );
  expect(server.calls).toHaveLength(5);
});

test("a wrong token is one line, without the token", async () => {
  const stranger = openKvStore({ baseUrl: server.baseUrl, token: "wrong-token", account, namespace });
  await expect(stranger.read(["directory"])).rejects.toThrow(/^403 (?!.*wrong-token)/);
});
