import type { ServerResponse } from "node:http";
import { describe, expect, test, vi } from "vitest";
import { serve } from "../../src/local/http-server.ts";
import { type KvStore, openKvStore } from "../../src/podctl/target/kv-store.ts";
import { account, apiToken, namespace } from "../support/cloudflare-kv.ts";
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

test("a listing goes on after empty pages, which KV has where keys were deleted", async () => {
  await kv.write(entriesOf(3));
  server.emptyPages(2);
  expect(await listed()).toEqual(entriesOf(3).map(([key]) => key));
  server.emptyPages(1);
  expect(await listed("route/")).toEqual(entriesOf(3).map(([key]) => key));
});

/** A server that answers every call like this, and podctl's way to it. */
async function withAnswer(
  answer: (response: ServerResponse, n: number) => unknown,
  act: (kv: KvStore) => Promise<void>,
) {
  let calls = 0;
  const { port, stop } = await serve((_request, response) => answer(response, ++calls));
  try {
    await act(openKvStore({ baseUrl: `http://127.0.0.1:${port}`, token: apiToken, account, namespace }));
  } finally {
    await stop();
  }
}

const send = (response: ServerResponse, type: string, body: string) =>
  response.writeHead(200, { "Content-Type": type }).end(body);

describe("what is no answer of the API is neither an empty namespace nor a write that was done", () => {
  test.each([
    ["a proxy's page", "text/html", "<html>Please log in</html>", "is no JSON"],
    ["an empty mapping", "application/json", "{}", "is {}"],
    [
      "a refusal with 200",
      "application/json",
      '{"success":false,"errors":[{"code":10000}],"result":null}',
      'is {"success":false',
    ],
  ])("%s", async (_what, type, body, said) => {
    await withAnswer(
      (response) => send(response, type, body),
      async (stranger) => {
        const calls = [
          () => stranger.read(["directory"]),
          () => stranger.list()[Symbol.asyncIterator]().next(),
          () => stranger.write(entriesOf(1)),
          () => stranger.remove(["route/a"]),
        ];
        for (const call of calls) await expect(call()).rejects.toThrow(`no answer of the KV API: it ${said}`);
      },
    );
  });
});

test("a call whose answer is cut off is made again, and who watches is told", async () => {
  const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const whole = JSON.stringify({ success: true, errors: [], messages: [], result: { values: { directory: "d" } } });
  await withAnswer(
    (response, n) => {
      if (n > 1) return send(response, "application/json", whole);
      response.writeHead(200, { "Content-Type": "application/json", "Content-Length": whole.length });
      return response.write(whole.slice(0, 20), () => response.destroy());
    },
    async (api) => expect(await api.read(["directory"])).toEqual(new Map([["directory", "d"]])),
  );
  expect(said.mock.calls.flat()).toEqual([expect.stringMatching(/^the KV API cannot be reached: .*; trying again/)]);
  said.mockRestore();
});
