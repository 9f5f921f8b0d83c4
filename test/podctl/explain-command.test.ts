import { beforeAll, describe, expect, test } from "vitest";
import { writeStackFile } from "../../src/local/stack-files.ts";
import type { Step } from "../../src/podctl/explain/step.ts";
import { createClient } from "../support/client.ts";
import { podctl } from "../support/podctl.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack();

describe("podctl as a command:", () => {
  const stackFile = () => `${stack.current.stateDir}/stack.json`;
  const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    podctl(args, { env: { PODCTL_STACK: stackFile(), NO_COLOR: "1", ...env } });
  beforeAll(() => writeStackFile(stack.current, stackFile()));

  test("resolve names the Pod and the assignment, and ends with 1 for a malformed name", async () => {
    const found = await run(["resolve", "globex/app"]);
    expect([found.code, found.stdout]).toEqual([0, expect.stringMatching(/^by +globex$/m)]);
    const json = await run(["resolve", "other/app", "--json"]);
    expect(JSON.parse(json.stdout)).toEqual({
      name: "other/app",
      pod: "pod-a",
      state: "active",
      assignment: null,
      blocked: null,
      renamedTo: null,
      group: null,
    });
    const wrong = await run(["resolve", "Acme"]);
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining("upper-case")]);
  });

  test.each([
    [["resolve", "127.0.0.1/acme/app"], "acme/app"],
    [["assign", "127.0.0.1/acme", "pod-a", "--yes"], "acme"],
    [["block", "127.0.0.1/acme/leaked", "--why", "leaked", "--yes"], "acme/leaked"],
  ])(
    "a name that begins with the edge's host name is refused, and the message has the right name: %j",
    async (args, right) => {
      expect(await run(args)).toEqual({
        ...{ code: 1, stdout: "" },
        stderr: `podctl: "127.0.0.1/${right}" begins with the edge's own host name; want "${right}"\n`,
      });
    },
  );

  test("explain takes the token from the environment and never prints it", async () => {
    const token = await createClient(stack.current.edge).token(["repository:acme/private:pull"]);
    const { stdout, code } = await run(["explain", "get", "/v2/acme/private/tags/list", "--json"], {
      PODCTL_TOKEN: token,
    });
    expect([code, (JSON.parse(stdout) as Step[]).find(({ step }) => step === "grant")?.result]).toEqual([
      0,
      "covers the scopes",
    ]);
    expect(stdout).not.toContain(token.slice(-40));
    const copied = await run(["explain", "GET", "/v2/acme/private/tags/list", "--token", ` Bearer ${token}`]);
    expect(copied.stdout).toMatch(/^grant +covers the scopes$/m);
    const unset = await run(["explain", "GET", "/v2/acme/private/tags/list", "--token", ""]);
    expect([unset.code, unset.stderr]).toEqual([1, expect.stringMatching(/^podctl: the token is empty; pass/)]);
    const wrong = await run(["explain", "GET", "v2/acme"]);
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('"v2/acme" is not a URL')]);
  });

  test.each([
    ["--country", "de", "a country's ISO 3166-1 code"],
    ["--country", "QQ", "a country's ISO 3166-1 code"],
    ["--continent", "ZZ", "one of the continents AF, AN,"],
    ["--colo", "fra", "three capital letters"],
    ["--asn", "0", "the number of an autonomous system"],
    ["--asn", "4294967296", "the number of an autonomous system"],
    ["--ip", "198.51.100.07", "an IPv4 or IPv6 address"],
    ["--ip", "198.51.100.7/32", "an IPv4 or IPv6 address"],
  ])("explain refuses a client with %s %s, because no client has it", async (option, value, wanted) => {
    const { code, stdout, stderr } = await run(["explain", "GET", "/v2/acme/app/manifests/1", option, value]);
    expect([code, stdout, stderr]).toEqual([1, "", expect.stringContaining(`"${value}" is not ${wanted}`)]);
  });

  test("explain takes each value of a client that the edge may see", async () => {
    const client = [
      "--country",
      "T1",
      "--continent",
      "EU",
      "--asn",
      "4294967295",
      "--colo",
      "FRA",
      "--ip",
      "2001:db8::1",
    ];
    const { code, stderr } = await run(["explain", "GET", "/v2/acme/app/manifests/1", ...client]);
    expect([code, stderr]).toEqual([0, ""]);
  });

  test.each([
    [["--country", "DE"], "403 DENIED: Not from Europe."],
    [["--country", "US"], 'forwarded to Pod "pod-a"'],
    [["--country", "DE", "--continent", "AS"], 'forwarded to Pod "pod-a"'],
    [["--country", "T1"], 'forwarded to Pod "pod-a"'],
  ])("explain takes the continent from the country, if it is not given: %j", async (client, answer) => {
    const clients = { deny: [{ continents: ["EU"] }], reason: "Not from Europe." };
    const route = { v: 1, pod: "pod-a", revision: 2, state: "active", clients };
    await stack.current.putKv("route/hooli", JSON.stringify(route));
    const { stdout } = await run(["explain", "GET", "/v2/hooli/app/tags/list", ...client]);
    expect(stdout).toMatch(new RegExp(`^answer +${answer}$`, "m"));
  });

  test.each(["199", "302", "307", "600", "abc"])("explain refuses to assume that Pods answer %s", async (status) => {
    const refused = await run(["explain", "GET", "/v2/acme/app/manifests/1", "--pod-status", status]);
    expect([refused.code, refused.stdout, refused.stderr]).toEqual([
      ...[1, ""],
      expect.stringContaining(`"${status}" is not an HTTP status from 200 to 299 or from 400 to 599`),
    ]);
  });

  test("explain takes //v2/… for a path, as the edge does, and not for a host", async () => {
    const { stdout } = await run(["explain", "GET", "//v2/acme/app/manifests/1"]);
    expect(stdout).toContain('path has too many slashes; want "/v2/acme/app/manifests/1"');
  });

  test("explain refuses a token that no header can carry, and a URL with a password, and shows neither", async () => {
    const path = "/v2/acme/app/manifests/1";
    const wrapped = ["HUSH\nHUSH", "HUSH…HUSH"];
    const urls = [
      "https://user:HUSH@127.0.0.1/v2/",
      "https://HUSH@127.0.0.1/v2/",
      "https://u:HUSH?HUSH/HUSH@x/v2/",
      "u:HUSH@x/v2/",
    ];
    const runs = await Promise.all([
      ...wrapped.map((token) => run(["explain", "GET", path, "--token", token])),
      run(["explain", "GET", path], { PODCTL_TOKEN: "HUSH\r\n HUSH" }),
      ...urls.map((url) => run(["explain", "GET", url])),
    ]);
    for (const { code, stdout, stderr } of runs) {
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(/^podctl: (the token has|the URL has a user name|"\S+" is not a URL)[^\n]*; \S[^\n]*\n$/);
      expect(stderr).not.toContain("HUSH");
    }
  });
});
