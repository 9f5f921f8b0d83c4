import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { formatComparison } from "../../src/podctl/commands/replay.ts";
import { type Comparison, compareTraffic } from "../../src/podctl/replay/comparison.ts";
import { collectTexts, createDecide } from "../../src/podctl/replay/decide.ts";
import { linesOf } from "../../src/podctl/replay/lines.ts";
import { parseLogLine } from "../../src/podctl/replay/log-line.ts";
import { createClient } from "../support/client.ts";
import { podctl } from "../support/podctl.ts";
import { useStack } from "../support/toy-stack.ts";

const digest = `sha256:${"a".repeat(64)}`;
const pod = {
  v: 1,
  revision: 1,
  registry: "https://r.test",
  token: "https://t.test",
  issuer: "i",
  audience: "a",
  keys: [],
};

function mapOf(routes: Readonly<Record<string, string>>, more: Readonly<Record<string, object>> = {}) {
  const collected = collectTexts();
  const add = (key: string, record: object) => collected.add(key, JSON.stringify({ v: 1, ...record }));
  for (const id of ["pod-a", "pod-b"]) add(`pod/${id}`, { ...pod, state: "active" });
  for (const [prefix, id] of Object.entries(routes)) add(`route/${prefix}`, { pod: id, revision: 1, state: "active" });
  for (const [key, record] of Object.entries(more)) add(key, record);
  return createDecide(collected.texts, { plainHttp: "nowhere" });
}

async function* streamOf(...chunks: readonly string[]) {
  yield* chunks;
}
async function collect<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
const common = (method: string, path: string) =>
  `198.51.100.7 - - [01/Mar/2026:12:00:00 +0000] "${method} ${path} HTTP/1.1" 200 512`;
const record = (method: string, path: string) =>
  JSON.stringify({ log: "edge", at: "2026-03-01T12:00:00Z", method, path, status: 200 });

describe("replay, a line of a log:", () => {
  test.each([
    [common("GET", "/v2/acme/app/manifests/1"), ["acme/app"]],
    [`${common("GET", "/v2/acme/app/manifests/1")} "-" "docker/29.1"`, ["acme/app"]],
    [record("PUT", "/v2/acme/app/blobs/uploads/1?_state=redacted"), ["acme/app"]],
    [record("POST", `/v2/acme/app/blobs/uploads/?mount=${digest}&from=globex/base`), ["acme/app", "globex/base"]],
    [
      record("GET", "/jwt/auth?scope=repository:a/b:pull,push+repository:c/d:pull&scope=registry:catalog:*"),
      ["a/b", "c/d"],
    ],
    // The edge cuts a long query and marks the cut. Replay ignores the last name if its end may be missing.
    [record("GET", "/jwt/auth?scope=repository:a/b:pull&scope=repository:c/d…"), ["a/b"]],
    [record("GET", "/jwt/auth?scope=repository%3Aa%2Fb%3Apull+repository%3Ac%2Fd%3Apu…"), ["a/b", "c/d"]],
  ])("%s is about the names in it", (line, names) => {
    const logged = parseLogLine(line);
    expect(logged.kind === "about" && logged.subjects.map(({ name }) => name)).toEqual(names);
    expect(JSON.stringify(logged)).not.toContain("_state");
  });

  test.each([
    [record("GET", "/v2/"), "nameless"],
    [common("GET", "/jwt/auth?service=s"), "nameless"],
    [record("GET", "/v2/Acme/app/tags/list"), "refused"],
    [common("GET", "/favicon.ico"), "refused"],
    ["{not JSON", "unread"],
    ['{"method":"GET"}', "unread"],
    ["hello", "unread"],
    [record("GET", "http://["), "unread"],
  ])("%s is %s", (line, kind) => expect(parseLogLine(line).kind).toBe(kind));
});

test("replay reads whole lines from chunks of any size, and a line without an end costs no memory", async () => {
  const text = "one\ntwo\n\nthree";
  for (let size = 1; size < text.length; size += 1) {
    const chunks = text.match(new RegExp(`[\\s\\S]{1,${size}}`, "g")) ?? [];
    expect(await collect(linesOf(streamOf(...chunks)))).toEqual(["one", "two", "", "three"]);
  }
  const long = "x".repeat(50_000);
  expect(await collect(linesOf(streamOf("a\n", long, long, long, "\nb\n", long, long)))).toEqual([
    "a",
    null,
    "b",
    null,
  ]);
});

describe("replay, two directories under the same traffic:", () => {
  const compare = (lines: readonly string[], before: ReturnType<typeof mapOf>, after: ReturnType<typeof mapOf>) =>
    compareTraffic(linesOf(streamOf(...lines.map((line) => `${line}\n`))), before, after);

  test("differences are listed by name, with counts and the first requests", async () => {
    const before = mapOf({ acme: "pod-a" }, { directory: { default: "pod-a", revision: 1 } });
    const after = mapOf(
      { acme: "pod-a", "acme/moved": "pod-b" },
      { blocks: { revision: 1, blocks: { "acme/leaked": "leaked" } } },
    );
    const lines = [
      ...Array<string>(5).fill(record("GET", "/v2/acme/moved/manifests/1")),
      common("HEAD", "/v2/acme/moved/manifests/2"),
      common("GET", "/v2/acme/stays/manifests/1"),
      common("GET", "/v2/acme/leaked/manifests/1"),
      common("GET", "/v2/hooli/app/manifests/1"),
      "noise",
    ];
    const { lines: counts, requests, differences, byMove } = await compare(lines, before, after);
    expect(counts).toEqual({ read: 9, unread: 1 });
    expect(requests).toEqual({ same: 1, differs: 8, nameless: 0, refused: 0 });
    expect(Object.fromEntries(byMove)).toEqual({ "pod-a → pod-b": 6, "pod-a → a block": 1, "pod-a → no Pod": 1 });
    expect(differences[0]).toEqual({
      name: "acme/moved",
      from: "pod-a",
      to: "pod-b",
      requests: 6,
      examples: ["GET /v2/acme/moved/manifests/1", "HEAD /v2/acme/moved/manifests/2"],
    });
  });

  test("each line counts for as many requests as its rate says, whatever the request is", async () => {
    const sampled = (path: string, sample: number) => JSON.stringify({ log: "edge", method: "GET", path, sample });
    const [moved, stays] = ["/v2/acme/moved/manifests/1", "/v2/acme/stays/manifests/1"];
    const lines = [
      ...[sampled(moved, 0.05), sampled(moved, 0.05), sampled(moved, 1), common("GET", moved)],
      ...[sampled(stays, 0.3), sampled(stays, 0.3), sampled("/v2/", 0.1), sampled("/v2/UPPER/tags/list", 0.5)],
      ...[sampled(moved, 0), sampled(moved, 2), sampled(moved, -1)],
    ];
    const after = mapOf({ acme: "pod-a", "acme/moved": "pod-b" });
    const { lines: counts, requests, differences, byMove } = await compare(lines, mapOf({ acme: "pod-a" }), after);
    expect(counts).toEqual({ read: 8, unread: 3 });
    // Two lines with a `sample` of 0.3 count for 6.67 requests, which is rounded to 7.
    expect(requests).toEqual({ same: 7, differs: 42, nameless: 10, refused: 2 });
    expect([differences[0]?.requests, byMove.get("pod-a → pod-b")]).toEqual([42, 42]);
  });

  test("a mount from another Pod goes to the target's Pod, with a gateway and without", async () => {
    const routes = { acme: "pod-a", globex: "pod-b" };
    const stores = [{ scheme: "public", baseUrl: "https://cdn.test" }];
    const withGateway = { ...pod, state: "active", gateway: { url: "https://g.test", key: "sealed" } };
    const after = mapOf(routes, {
      "pod/pod-a": withGateway,
      "pod/pod-b": { ...pod, state: "active", blobs: { stores } },
    });
    const line = record("POST", `/v2/acme/app/blobs/uploads/?mount=${digest}&from=globex/base`);
    const { requests, differences } = await compare([line], mapOf(routes), after);
    expect([requests.same, differences]).toEqual([1, []]);
  });

  test("a group that is being moved goes to the Pod that serves it, although the edge also asks the move's other Pod", async () => {
    const move = { to: "pod-a", phase: "settle", since: "2026-03-01T12:00:00.000Z" };
    const before = mapOf(
      { globex: "pod-b" },
      {
        "pod/pod-a": { ...pod, registry: "https://other.test", state: "active" },
        "route/globex": { pod: "pod-b", revision: 1, state: "active", move },
      },
    );
    const paths = [`blobs/${digest}`, `manifests/${digest}`, "manifests/1", "tags/list"].map(
      (end) => `/v2/globex/a/${end}`,
    );
    const traffic = [...paths, "/jwt/auth?scope=repository:globex/a:pull"].map((path) => record("GET", path));
    const { requests, differences } = await compare(traffic, before, mapOf({ globex: "pod-a" }));
    expect([requests.same, differences]).toEqual([traffic.length, []]);
  });

  test("a client that is no address, but any other text, does not end the comparison", async () => {
    const path = "/v2/acme/app/manifests/1";
    const named = common("GET", path).replace("198.51.100.7", "höst…");
    const logged = JSON.stringify({ log: "edge", method: "GET", path, client: "a\nb" });
    const { requests } = await compare([named, logged], mapOf({ acme: "pod-a" }), mapOf({ acme: "pod-b" }));
    expect(requests.differs).toBe(2);
  });

  test("a read-only Pod differs only for writes", async () => {
    const routes = { acme: "pod-a" };
    const after = mapOf(routes, { "pod/pod-a": { ...pod, state: "read-only" } });
    const { differences } = await compare(
      [common("GET", "/v2/acme/app/manifests/1"), common("PUT", "/v2/acme/app/manifests/1")],
      mapOf(routes),
      after,
    );
    expect(differences).toMatchObject([{ from: "pod-a", to: "pod-a (read-only)", requests: 1 }]);
  });

  test("a group's settings differ for the writes, the clients and the blobs that they are about", async () => {
    const routes = { acme: "pod-a" };
    const changed = (settings: object) =>
      mapOf(routes, { "route/acme": { pod: "pod-a", revision: 2, state: "active", ...settings } });
    const get = (path: string, more: object) =>
      JSON.stringify({ log: "edge", method: "GET", path, status: 200, ...more });
    const manifest = "/v2/acme/app/manifests/1";
    const lines = [
      common("GET", manifest),
      get(manifest, { client: "192.0.2.7", country: "DE", asn: 64500 }),
      get("/jwt/auth?scope=repository:acme/app:pull", { country: "FR" }),
      common("GET", `/v2/acme/app/blobs/${digest}`),
      common("POST", "/v2/acme/app/blobs/uploads/"),
      get(manifest, {}),
    ];
    const movesOf = async (settings: object) =>
      Object.fromEntries((await compare(lines, mapOf(routes), changed(settings))).byMove);
    expect(await movesOf({ state: "read-only" })).toEqual({ "pod-a → pod-a (read-only)": 1 });
    expect(await movesOf({ delivery: "stream" })).toEqual({ "pod-a → pod-a, through the Pod": 1 });
    expect(await movesOf({ uploads: "edge" })).toEqual({ "pod-a → pod-a, on the edge": 1 });
    // All lines in the common log format have an address in this range.
    expect(await movesOf({ clients: { deny: [{ cidrs: ["198.51.100.0/24"] }] } })).toEqual({
      "pod-a → pod-a (client-denied)": 3,
    });
    expect(await movesOf({ clients: { deny: [{ continents: ["EU"] }] } })).toEqual({
      "pod-a → pod-a (client-denied)": 2,
    });
    expect(await movesOf({ clients: { allow: [{ asns: [64500] }] } })).toEqual({ "pod-a → pod-a (client-denied)": 5 });
  });

  test("a renamed repository differs by the name under which its Pod gets it, and its writes are refused", async () => {
    const after = mapOf({ acme: "pod-a" }, { directory: { revision: 2, aliases: { "acme/app": "acme/new" } } });
    const lines = [common("GET", "/v2/acme/app/manifests/1"), common("PUT", "/v2/acme/app/manifests/1")];
    const { byMove } = await compare(lines, mapOf({ acme: "pod-a" }), after);
    expect(Object.fromEntries(byMove)).toEqual({ "pod-a → pod-a, as acme/new": 1, "pod-a → pod-a (renamed)": 1 });
  });

  /** Each name is at pod-a before the change, and at pod-b after it. The last name has 5 requests, and each other name has one. */
  async function compareNames(names: number) {
    async function* lines() {
      for (let index = 0; index < names + 4; index += 1)
        yield common("GET", `/v2/acme/app${Math.min(index, names - 1)}/manifests/1`);
    }
    return compareTraffic(
      lines(),
      async () => "pod-a",
      async () => "pod-b",
    );
  }

  test("of 40,000 names that differ, those with the most requests come first, and the others are counted", async () => {
    const comparison = await compareNames(40_000);
    expect(comparison.differences[0]).toMatchObject({ name: "acme/app39999", requests: 5 });
    expect(formatComparison(comparison)).toMatch(/\n {2}and 39,980 more names; --json has them$/);
  });

  test("at most 100,000 names that differ are kept, this is said, and all requests are counted", async () => {
    const comparison = await compareNames(110_000);
    const { differences, byMove } = comparison;
    expect([differences.length, byMove.get("pod-a → pod-b")]).toEqual([100_000, 110_004]);
    const left = "  and at least 99,980 more names; --json has the first 100,000 names of the log";
    expect(formatComparison(comparison).split("\n").at(-1)).toBe(left);
  });
});

describe("podctl replay:", () => {
  const stack = useStack();
  const dir = mkdtempSync(join(tmpdir(), "registry-edge-replay-"));
  afterAll(() => rmSync(dir, { recursive: true }));
  const run = async (args: readonly string[], input = "") => {
    const file = join(dir, "stack.json");
    await writeStackFile(stack.current, file);
    return podctl(["replay", ...args], { input, env: { PODCTL_STACK: file, NO_COLOR: "1" } });
  };

  test("the stack's own log shows a new assignment, and nothing else differs from what is applied", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:globex/hello:pull"]);
    await client.get("/v2/globex/hello/manifests/1", token);
    await client.get("/v2/acme/hello/manifests/1", token);
    await stack.current.edgeSettled();
    const log = join(dir, "access.log");
    writeFileSync(
      log,
      stack.current
        .edgeSeen()
        .map((seen) => JSON.stringify({ log: "edge", ...seen }))
        .join("\n"),
    );
    await stack.current.putKv("blocks", '{"v":1,"revision":2,"blocks":{"acme/hello":"leaked"}}');
    const same = await run([log]);
    expect([same.code, same.stderr, same.stdout]).toEqual([0, "", expect.stringContaining("3 the same, 0 different")]);

    const directory =
      '{"v":1,"revision":2,"pods":["pod-a","pod-b"],"default":"pod-a","credentials":"shared","depth":2}';
    await stack.current.putKv("directory", directory);
    await stack.current.putKv("route/globex/hello", '{"v":1,"pod":"pod-a","revision":2,"state":"active"}');
    const moved = await run([log]);
    expect(moved.code).toBe(2);
    expect(moved.stdout).toContain(
      "globex/hello: pod-a → pod-b, 2 requests\n    GET /jwt/auth\n    GET /v2/globex/hello/manifests/1",
    );
    const json = JSON.parse(
      (await run(["-", "--json"], record("GET", "/v2/globex/hello/tags/list"))).stdout,
    ) as Comparison;
    expect([json.lines, json.requests]).toMatchObject([{ read: 1 }, { differs: 1 }]);
  });

  test("a log without a readable line is a failure, not a log without differences", async () => {
    const log = join(dir, "access.log.gz");
    writeFileSync(log, gzipSync(`${common("GET", "/v2/acme/app/manifests/1")}\n`));
    const packed = await run([log]);
    expect([packed.code, packed.stderr]).toEqual([
      1,
      expect.stringMatching(/^podctl: no line of ".*" is a line of an/),
    ]);
    expect((await run(["-"])).code).toBe(0);
    expect((await run(["-"], `odd\n${common("GET", "/v2/")}\n`)).code).toBe(0);
  });

  test("a log that does not exist or is a folder is named in the message", async () => {
    const missing = await run([join(dir, "none.log")]);
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining("none.log")]);
    const folder = await run([dir]);
    const said = `podctl: "${dir}" cannot be read: it is a folder; want a log file\n`;
    expect([folder.code, folder.stderr]).toEqual([1, said]);
  });

  test("a byte order mark before a line does not hide the line", async () => {
    const marked = await run(["-", "--json"], `\uFEFF${record("GET", "/v2/acme/app/manifests/1")}\n`);
    expect((JSON.parse(marked.stdout) as Comparison).lines).toEqual({ read: 1, unread: 0 });
  });
});
