import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { privateImage } from "../../src/local/images.ts";
import type { Digest } from "../../src/oci/digest.ts";
import { countPulls, type Pulls } from "../../src/podctl/pulls/count-pulls.ts";
import { readPullLine } from "../../src/podctl/pulls/pull-line.ts";
import { createClient } from "../support/client.ts";
import { podctl } from "../support/podctl.ts";
import { useStack } from "../support/toy-stack.ts";

const digest = `sha256:${"a".repeat(64)}` as Digest;
const other = `sha256:${"b".repeat(64)}`;
const base = {
  ...{ log: "edge", at: "2026-11-23T08:00:00.000Z", sample: 1, method: "GET", status: 307, endpoint: "blob" },
  ...{ digest, repository: "acme/app", subject: "demo", client: "198.51.100.7", country: "DE", asn: 64_500 },
  userAgent: "docker/27.3.1",
};
const line = (more: object = {}) => JSON.stringify({ ...base, ...more });

async function* streamOf(lines: readonly (string | null)[]) {
  yield* lines;
}
const count = (lines: readonly (string | null)[], since: string | null = null) =>
  countPulls([{ name: "access.log", lines: streamOf(lines) }], {
    digest,
    since: since === null ? null : new Date(since),
  });

describe("podctl pulls, a line", () => {
  test.each([
    ["a redirect to a blob", {}],
    ["a manifest by tag", { endpoint: "manifest", status: 200 }],
    ["a part of a streamed blob", { status: 206 }],
    ["a manifest whose body broke off", { endpoint: "manifest", status: 200, outcome: "broken" }],
    ["a pull without a user", { subject: undefined }],
    ["a line without a rate", { sample: undefined }],
  ])("%s is a pull", (_, more) => expect(readPullLine(line(more)).kind).toBe("pull"));

  test.each([
    ["a HEAD", { method: "HEAD" }],
    ["a push", { method: "PUT", endpoint: "manifest", status: 201 }],
    ["a refused pull", { status: 403 }],
    ["a pull of what is not there", { status: 404 }],
    ["a client that left before the answer", { status: 499 }],
    ["a manifest that the client had already", { endpoint: "manifest", status: 304 }],
    ["a list of referrers", { endpoint: "referrers", status: 200 }],
    ["a login", { endpoint: "token", status: 200, digest: undefined, repository: undefined }],
    ["a line about a store's health", { log: "health", method: undefined }],
  ])("%s is another line", (_, more) => expect(readPullLine(line(more)).kind).toBe("other"));

  test.each([
    ["", "text that is no JSON"],
    ["[1]", "a list"],
    ['{"method":"GET"}', "an object of something else"],
    [line({ at: "yesterday" }), "a time that is none"],
    [line({ at: "2026-11-23T08:00:00+00" }), "a time in a form of ISO 8601 that JavaScript cannot read"],
    [line({ status: "307" }), "a status of a wrong type"],
    [line({ sample: 0 }), "a rate of 0"],
    [line({ sample: 1.5 }), "a rate above 1"],
    [line({ subject: 7 }), "a user of a wrong type"],
    [line({ userAgent: "x".repeat(10_000) }), "a text longer than the edge writes"],
    [line().slice(0, 100), "a line that was cut"],
    ['198.51.100.7 - - [01/Mar/2026:12:00:00 +0000] "GET /v2/a/manifests/1 HTTP/1.1" 200 5', "another server's line"],
  ])("%s is not read: %s", (text) => expect(readPullLine(text).kind).toBe("unread"));
});

describe("podctl pulls, who pulled a digest:", () => {
  test("pulls are joined by user, address, client and repository, and the most come first", async () => {
    const pulls = await count([
      line({ at: "2026-11-24T08:00:00.000Z" }),
      line({ at: "2026-11-23T08:00:00.000Z" }),
      line({ at: "2026-11-25T08:00:00.000Z" }),
      line({ subject: undefined }),
      line({ subject: undefined, repository: "acme/fork" }),
      line({ digest: other }),
    ]);
    expect(pulls).toMatchObject({ pulls: 5, lines: { pulls: 5, other: 1, unread: 0 }, sample: 1 });
    expect(pulls.pullers).toHaveLength(3);
    expect(pulls.pullers[0]).toEqual({
      ...{ subject: "demo", client: "198.51.100.7", country: "DE", asn: 64_500, userAgent: "docker/27.3.1" },
      ...{ repository: "acme/app", pulls: 3 },
      ...{ first: "2026-11-23T08:00:00.000Z", last: "2026-11-25T08:00:00.000Z" },
    });
    expect(pulls.pullers.slice(1).map(({ subject }) => subject)).toEqual([null, null]);
  });

  test("each line counts for as many pulls as its rate says, and the lowest rate is told", async () => {
    const pulls = await count([
      line({ sample: 0.05 }),
      line({ sample: 0.05 }),
      line(),
      line({ digest: other, sample: 0.01 }),
    ]);
    expect([pulls.pulls, pulls.pullers[0]?.pulls, pulls.sample]).toEqual([41, 41, 0.01]);
  });

  test("what was before --since is left out, and what was at that time is not", async () => {
    const at = ["2026-11-22T23:59:59.999Z", "2026-11-23T00:00:00.000Z", "2026-11-24T00:00:00.000Z"];
    const pulls = await count(
      at.map((each) => line({ at: each })),
      "2026-11-23",
    );
    expect([pulls.pulls, pulls.pullers[0]?.first]).toEqual([2, at[1]]);
  });

  test("lines that cannot be read are counted, and the first five are named", async () => {
    const pulls = await count([line(), "", "odd", null, ...Array<string>(8).fill("{")]);
    expect([pulls.pulls, pulls.lines.unread]).toEqual([1, 10]);
    expect(pulls.unreadAt).toEqual([3, 4, 5, 6, 7].map((number) => `access.log:${number}`));
  });

  test("at most 100,000 clients are kept, and all pulls are counted", async () => {
    const lines = Array.from({ length: 100_002 }, (_, index) =>
      line({ client: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}` }),
    );
    const pulls = await count([...lines, ...lines.slice(0, 1)]);
    expect([pulls.pullers.length, pulls.pulls, pulls.pullers[0]?.pulls]).toEqual([100_000, 100_003, 2]);
  });
});

describe("podctl pulls, as a command:", () => {
  const stack = useStack();
  const dir = mkdtempSync(join(tmpdir(), "registry-edge-pulls-"));
  afterAll(() => rmSync(dir, { recursive: true }));
  const file = (name: string, text: string | Buffer) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const run = (args: readonly string[], input = "") => podctl(["pulls", ...args], { input, env: { NO_COLOR: "1" } });

  test("the stack's own log names who pulled an image by tag, and who pulled its layer", async () => {
    const { manifest, layer } = privateImage("acme");
    const client = createClient(stack.current.edge);
    const headers = { "CF-Connecting-IP": "198.51.100.7", "User-Agent": "docker/27.3.1" };
    for (const user of ["demo", "reader"]) {
      const token = await client.token(["repository:acme/private:pull"], user);
      await client.get("/v2/acme/private/manifests/1", token, { headers, method: "HEAD" });
      await client.get("/v2/acme/private/manifests/1", token, { headers });
      if (user === "demo") await client.get(`/v2/acme/private/blobs/${layer.digest}`, token, { headers });
    }
    await stack.current.edgeSettled();
    const log = file("edge.log", stack.current.edgeLines().join("\n"));
    const [ofManifest, ofLayer] = await Promise.all([
      run([manifest.digest, log]),
      run([layer.digest, "-"], stack.current.edgeLines().join("\n")),
    ]);
    expect([ofManifest.code, ofManifest.stderr, ofLayer.code, ofLayer.stderr]).toEqual([0, "", 0, ""]);
    expect(ofManifest.stdout).toMatch(/^sha256:\w+: 2 pulls by 2 clients, in \d+ lines\n/);
    for (const user of ["demo", "reader"]) {
      expect(ofManifest.stdout).toContain(`${user} at 198.51.100.7, docker/27.3.1\n  acme/private: 1 pull, 2`);
    }
    expect(ofLayer.stdout).toMatch(/: 1 pull by 1 client, in \d+ lines\ndemo at /);
  });

  test("of a log with a part of the requests it gives estimates, and says that clients may be missing", async () => {
    const sampled = await run([digest, "-"], `${line({ sample: 0.05 })}\n`);
    expect(sampled.stdout).toBe(
      `${digest}: about 20 pulls by 1 client, in 1 line
demo at 198.51.100.7 (DE, AS64500), docker/27.3.1
  acme/app: about 20 pulls, 2026-11-23T08:00:00.000Z
Not every pull has a line (sample 0.05), so a client that pulled only a few times may be missing.
`,
    );
  });

  test("several logs are one, a log that is named twice counts once, --since and --json work, and bad lines are named by file and line", async () => {
    const [one, two] = [
      file("one.log", `${line()}\nodd\n`),
      file("two.log", `${line({ at: "2026-11-20T00:00:00.000Z" })}\n`),
    ];
    const all = await run([digest, one, two]);
    expect(all.stdout).toContain(`: 2 pulls by 1 client, in 3 lines; 1 line not read: ${one}:2\n`);
    expect((await run([digest, one, two, one])).stdout).toBe(all.stdout);
    const since = await run([digest, one, two, "--since", "2026-11-23T09:00:00+01:00", "--json"]);
    const json = JSON.parse(since.stdout) as Pulls;
    expect([json.pulls, json.lines, json.unreadAt]).toEqual([1, { pulls: 1, other: 1, unread: 1 }, [`${one}:2`]]);
  });

  test("a log's text cannot begin a line of podctl's own, or give orders to the terminal", async () => {
    const hostile = "eve\ndemo at 127.0.0.1, docker\n\u001b[2J";
    const { stdout } = await run(
      [digest, "-"],
      `${line({ subject: hostile, userAgent: hostile, repository: hostile })}\n`,
    );
    expect(stdout.split("\n").filter((each) => each.startsWith("demo"))).toEqual([]);
    expect(stdout).not.toContain("\u001b");
  });

  test("an image with its tag is no digest, so it is not said to have no pull", async () => {
    const named = await run(["hello:1", "-"], `${line()}\n`);
    expect([named.code, named.stderr]).toEqual([1, expect.stringContaining('"hello:1" is not a digest; want sha256:')]);
  });

  test("a digest without a pull is an answer, and a log that cannot be read is a failure, also beside another one", async () => {
    const none = await run([digest, "-"], `${line({ digest: other })}\n`);
    expect([none.code, none.stdout]).toEqual([0, `${digest}: 0 pulls by 0 clients, in 1 line\n`]);
    const packed = await run([digest, file("access.log.gz", gzipSync(`${line()}\n`))]);
    const text = '198.51.100.7 - - [01/Mar/2026:12:00:00 +0000] "GET /v2/a/manifests/1 HTTP/1.1" 200 5';
    const foreign = await run([digest, file("nginx.log", Buffer.from(`${text}\n`))]);
    const ofLogpush = await run([digest, "-"], `${JSON.stringify({ Logs: [{ Message: [line()] }] })}\n`);
    for (const { code, stderr } of [packed, foreign, ofLogpush]) {
      const said = /^podctl: no line of ".*" is a line of the edge's own log in JSON; .* zcat .* jq .*docs\/logs\.md/;
      expect([code, stderr]).toEqual([1, expect.stringMatching(said)]);
    }
    const beside = await run([digest, file("today.log", `${line()}\n`), join(dir, "access.log.gz")]);
    expect([beside.code, beside.stdout, beside.stderr]).toEqual([
      1,
      expect.stringContaining(": 1 pull by 1 client"),
      expect.stringMatching(/^podctl: no line of "[^"]*access\.log\.gz" is a line of the edge's own log in JSON; /),
    ]);
    const missing = await run([digest, join(dir, "none.log")]);
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining("none.log")]);
  });

  test.each([
    [["sha256:short", "-"], "sha256:short"],
    [["acme/app", "-"], "acme/app"],
    [[digest, "-", "--since", "Monday"], '"Monday" is not a day'],
    [[digest, "-", "--since", "2026-11-23T08:00"], '"2026-11-23T08:00" is not a day'],
    [[digest, "-", "--since", "2026-13-01"], '"2026-13-01" is not a day'],
    [[digest, "-", "--since", "2026-11-31"], '"2026-11-31" is not a day'],
    [[digest, "-", "--since", "2026-02-30T00:00:00+02:00"], '"2026-02-30T00:00:00+02:00" is not a day'],
    [[digest], "missing required argument 'log'"],
  ])("wrong arguments are named: %j", async (args, named) => {
    const wrong = await run(args);
    expect([wrong.code, wrong.stdout, wrong.stderr]).toEqual([1, "", expect.stringContaining(named)]);
  });
});
