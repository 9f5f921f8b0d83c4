import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
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

test("KV store: 10,000 keys take one write, ten pages of a listing with metadata, and one delete", async () => {
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

test("KV store: values are read 100 at a time, each key once, and a missing key is null", async () => {
  const entries = entriesOf(250);
  await kv.write(entries);
  server.heal();
  const keys = entries.map(([key]) => key);
  const values = await kv.read([...keys, ...keys, "route/none"]);
  expect(server.calls.map((call) => call.split(" ").at(-1))).toEqual(["100", "100", "51"]);
  expect(values).toEqual(new Map([...entries, ["route/none", null]]));
});

test("KV store: a value is not repeated in metadata if it is too long or if its JSON has another spelling", async () => {
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

test("KV store: after a 429 the call is made again when Retry-After is over, and the operator is told", async () => {
  const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  server.limit(1, 1);
  const startedMs = performance.now();
  await kv.write(entriesOf(1));
  expect(performance.now() - startedMs).toBeGreaterThanOrEqual(1_000);
  expect(server.calls).toEqual(["PUT /bulk 1", "PUT /bulk 1"]);
  expect(said.mock.calls.flat()).toEqual(["the KV API answers 429; trying again for a while\n"]);
  said.mockRestore();
});

test("KV store: at Cloudflare, podctl waits until every edge sees a write, and says so; on this machine, it does not wait", async () => {
  const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  await kv.untilSeen();
  expect(said.mock.calls.flat()).toEqual([]);
  const atCloudflare = openKvStore({ baseUrl: undefined, token: apiToken, account, namespace });
  expect(await Promise.race([atCloudflare.untilSeen(), sleep(50, "waits")])).toBe("waits");
  expect(said.mock.calls.flat()).toEqual([
    "waiting 90 s, until every location of the edge knows what has been written\n",
  ]);
  said.mockRestore();
});

test("KV store: only the keys that a bulk call left out are sent again", async () => {
  server.failHalf(2);
  await kv.write(entriesOf(8));
  expect(server.calls).toEqual(["PUT /bulk 8", "PUT /bulk 4", "PUT /bulk 2"]);
  expect(await listed()).toHaveLength(8);
  server.heal();
  server.failHalf(1);
  await kv.remove(entriesOf(8).map(([key]) => key));
  expect(server.calls).toEqual(["POST /bulk/delete 8", "POST /bulk/delete 4"]);
});

test("KV store: keys that never succeed are named after five calls", async () => {
  server.failHalf(100);
  await expect(kv.write(entriesOf(1_000))).rejects.toThrow(
    /^\d+ keys, such as "route\/g\d+", were not written in 5 tries$/,
  );
  expect(server.calls).toHaveLength(5);
  server.failHalf(100);
  await expect(kv.write(entriesOf(32))).rejects.toThrow(/^"route\/g\d+" was not written in 5 tries$/);
});

test("KV store: a wrong token gives one line that does not show the token", async () => {
  const stranger = openKvStore({ baseUrl: server.baseUrl, token: "wrong-token", account, namespace });
  const refused = stranger.read(["directory"]);
  await expect(refused).rejects.toThrow(/^the KV API answered: 403 (?!.*wrong-token).*$/);
  await expect(refused).rejects.toThrow(
    "the permission Workers KV Storage: Edit, or Read for a command that only reads",
  );
});

test("KV store: a listing goes on after the empty pages that KV has where keys were deleted", async () => {
  await kv.write(entriesOf(3));
  server.emptyPages(2);
  expect(await listed()).toEqual(entriesOf(3).map(([key]) => key));
  server.emptyPages(1);
  expect(await listed("route/")).toEqual(entriesOf(3).map(([key]) => key));
});

test("KV store: a listing whose cursors never end is an error", { timeout: 60_000 }, async () => {
  const page = (n: number) => JSON.stringify({ success: true, result: [], result_info: { cursor: `${n}` } });
  await withAnswer(
    (response, n) => response.end(page(n)),
    async (api) => {
      const first = api.list()[Symbol.asyncIterator]().next();
      await expect(first).rejects.toThrow("the KV API lists keys without end: podctl has read 5,000 pages");
    },
  );
});

test.each([
  [
    400,
    { errors: [{ code: 10001, message: `bad header "Authorization: Bearer ${apiToken}"` }] },
    "the KV API answered: 400 bad header",
  ],
  [200, { headers: { Authorization: `Bearer ${apiToken}` } }, "what came back is not an answer of the KV API: it is"],
])(
  "KV store: an answer with status %d that echoes the API token is shown without the token",
  async (status, body, said) => {
    await withAnswer(
      (response) => response.writeHead(status).end(JSON.stringify(body)),
      async (api) => {
        const error: unknown = await api.read(["directory"]).catch((thrown: unknown) => thrown);
        expect(String(error)).toContain(said);
        expect(String(error)).toContain("Bearer …");
        expect(String(error)).not.toContain(apiToken);
      },
    );
  },
);

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

describe("KV store: an answer that is not the API's is an error, not an empty namespace or a successful write", () => {
  test.each([
    ["a proxy's page", "text/html", "<html>Please log in</html>", "is not JSON"],
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
        for (const call of calls) await expect(call()).rejects.toThrow(`not an answer of the KV API: it ${said}`);
      },
    );
  });
});

test("KV store: a call whose answer is cut off is made again, and the operator is told", async () => {
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

test("KV store: an API that answers 503 to every call is asked seven times", async () => {
  const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  let calls = 0;
  await withAnswer(
    (response, n) => {
      calls = n;
      response.writeHead(503, { "Retry-After": "0" }).end("<html>Service unavailable</html>");
    },
    async (api) => {
      await expect(api.read(["directory"])).rejects.toThrow("the KV API answered: 503 without a reason");
    },
  );
  expect([calls, said.mock.calls.flat()]).toEqual([7, ["the KV API answers 503; trying again for a while\n"]]);
  said.mockRestore();
});

test("KV store: a redirect is an error and is not followed", async () => {
  await withAnswer(
    (response, n) => response.writeHead(n === 1 ? 307 : 200, { Location: "/elsewhere" }).end(),
    async (api) => {
      await expect(api.read(["directory"])).rejects.toThrow("the KV API answered: 307 ");
    },
  );
});
