import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { generateSealingKeys } from "../../src/directory/seal.ts";
import { writeStackFile } from "../../src/local/stack-files.ts";
import type { Tap } from "../../src/local/taps/tap.ts";
import { layersOf } from "../support/client.ts";
import { podctl } from "../support/podctl.ts";
import { addSecondStore } from "../support/second-store.ts";
import { useStack } from "../support/toy-stack.ts";

const sealingKeys = await generateSealingKeys();

describe("podctl on a Pod with two stores", () => {
  const stack = useStack({ sealingKeys, env: { STORE_CHECK_MS: "400" } });
  let second: Tap;
  let first = "";
  beforeAll(async () => {
    second = await addSecondStore(stack.current, "pod-a", sealingKeys);
    first = new URL(stack.current.pods["pod-a"].storage.url).host;
    await stack.current.runCron();
    await stack.current.setFault("pod-a", "storage", { mode: "status", status: 503 });
    await stack.current.runCron();
  });
  afterAll(() => second.stop());

  async function run(...args: readonly string[]) {
    const file = `${stack.current.stateDir}/stack.json`;
    await writeStackFile(stack.current, file);
    return podctl(args, { env: { PODCTL_STACK: file, NO_COLOR: "1" } });
  }
  const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;

  test("stores shows which store is out, since when and why, and ends with 1", async () => {
    const { stdout, code } = await run("stores");
    const [out, other, only, ...rest] = stdout.trimEnd().split("\n");
    expect(out).toMatch(
      new RegExp(`^pod-a  store 0 \\(s3\\)  out        pod-a\\.${first}  since ${time}: answered 503$`),
    );
    expect(other).toMatch(
      new RegExp(`^pod-a  store 1 \\(s3\\)  in         pod-a\\.${new URL(second.url).host}  since ${time}$`),
    );
    expect(only).toMatch(
      /^pod-b {2}store 0 \(s3\) {2}unchecked {2}pod-b\.localhost:\d+ {2}the Pod has no other store$/,
    );
    expect([rest, code]).toEqual([[], 1]);
  });

  test("stores takes the Pods to show, each once, and gives JSON", async () => {
    const { stdout, code } = await run("stores", "pod-b", "pod-b", "--json");
    const shown = JSON.parse(stdout) as unknown[];
    expect([code, shown, shown.length]).toMatchObject([
      0,
      [{ pod: "pod-b", store: 0, scheme: "s3", state: "unchecked" }],
      1,
    ]);
    const unknown = await run("stores", "pod-x");
    expect([unknown.code, unknown.stderr]).toEqual([1, 'podctl: Pod "pod-x" has no record\n']);
  });

  test("explain names the store that the edge would choose, and the one that is out", async () => {
    const [layer] = await layersOf(stack.current, "acme/private");
    const { stdout } = await run("explain", "GET", `/v2/acme/private/blobs/${layer?.digest ?? ""}`);
    expect(stdout).toMatch(/^store +blobs\.stores\.1, the first that fits .* and is not out$/m);
    expect(stdout).toMatch(new RegExp(`^passed over +blobs\\.stores\\.0 is out since ${time}: answered 503$`, "m"));
    expect(stdout).toContain(second.url);
  });

  test("plan and export ignore what the checks found", async () => {
    const { stdout: withHealth } = await run("export");
    expect(withHealth).not.toContain("health");
    const { stdout: before } = await run("plan", "--json");
    const changes = (JSON.parse(before) as { changes: { key: string }[] }).changes;
    expect(changes.map(({ key }) => key)).toEqual(["pod/pod-a"]);
    await stack.current.deleteKv("health");
    expect((await run("export")).stdout).toBe(withHealth);
    expect((await run("plan", "--json")).stdout).toBe(before);
    expect((await run("stores", "pod-a")).stdout).toMatch(/new .* it has not given three good answers in a row yet/);
  });
});
