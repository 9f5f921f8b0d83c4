import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { accountEnv, podctl } from "../support/podctl.ts";
import { podText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-parting-"));
const { server } = await useCloudflareKv();
const env = { ...accountEnv(dir, server), NO_COLOR: "1" };
afterAll(() => rmSync(dir, { recursive: true }));

const run = (...args: readonly string[]) => podctl([...args, "--env", "production"], { env });
const shared = { registry: "https://registry.example.net", issuer: "one-issuer" };
type Pods = Readonly<Record<string, object>>;

async function apply(pods: Pods, ...flags: readonly string[]) {
  const file = join(dir, "topology.yaml");
  const lines = Object.entries(pods).map(([id, more]) => `  ${id}: ${podText(id, more)}`);
  writeFileSync(file, ["pods:", ...lines, "assignments: { acme: pod-a }"].join("\n"));
  return run("apply", file, ...flags);
}

const both: Pods = { "pod-a": shared, "pod-b": shared };
const why = "because the edge would let tokens of an unknown key through to it";
const leaves = (gone: string, rest: string) =>
  `  ! ${gone} will not share a registry with ${rest} any more; first take the key of ${gone} out of that registry, ${why}\n`;

describe("a Pod that leaves a shared registry", () => {
  test("is named by a rollback before its question, and also with --yes", async () => {
    await apply({ "pod-a": shared }, "--yes");
    await apply(both, "--yes");
    const before = new Map(server.data);
    const asked = await run("rollback");
    expect([asked.code, asked.stdout]).toEqual([1, expect.stringContaining(leaves("pod-b", "pod-a"))]);
    expect(server.data).toEqual(before);
    const undone = await run("rollback", "--yes");
    expect([undone.code, undone.stdout]).toEqual([
      0,
      expect.stringContaining(`${leaves("pod-b", "pod-a")}Revision 1 is restored.\n`),
    ]);
  });

  test.each<[string, Pods, Pods, string]>([
    ["it is taken out of the file", both, { "pod-a": shared }, leaves("pod-b", "pod-a")],
    ["it gets another registry", both, { "pod-a": shared, "pod-b": {} }, leaves("pod-b", "pod-a")],
    [
      "others still share it",
      { ...both, "pod-c": shared },
      { "pod-a": shared, "pod-c": shared },
      leaves("pod-b", "pod-a and pod-c"),
    ],
  ])("is named by plan and apply if %s", async (_, first, second, line) => {
    await apply(first, "--yes");
    const asked = await apply(second);
    expect([asked.code, asked.stdout]).toEqual([1, expect.stringContaining(line)]);
    expect((await run("plan", join(dir, "topology.yaml"))).stdout).toContain(line);
    expect((await apply(second, "--yes")).stdout).toContain(line);
  });

  test("is named with all that the edge would not keep apart if only the directory record forgets them", async () => {
    await apply(both, "--yes");
    const { sharedRegistries: _, ...rest } = JSON.parse(server.data.get("directory")?.value ?? "");
    const text = JSON.stringify(rest);
    server.data.set("directory", { value: text, metadata: rest });
    await apply(both, "--yes");
    const undone = await run("rollback");
    expect(undone.stdout).toContain(
      "  ! the directory would no longer say that pod-a and pod-b have one registry, so the edge would not keep them apart\n",
    );
  });

  test("is not named while all Pods of that registry leave it, or another Pod joins", async () => {
    await apply(both, "--yes");
    const other = { ...shared, registry: "https://other.example.net" };
    for (const next of [
      { ...both, "pod-c": shared },
      { "pod-a": other, "pod-b": other },
    ]) {
      const applied = await apply(next, "--yes");
      expect([applied.code, applied.stdout]).toEqual([0, expect.not.stringContaining("!")]);
    }
  });
});
