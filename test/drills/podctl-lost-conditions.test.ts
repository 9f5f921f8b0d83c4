import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { accountEnv, podctl } from "../support/podctl.ts";
import { topologyText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-conditions-"));
const { server } = await useCloudflareKv();
const env = { ...accountEnv(dir, server), NO_COLOR: "1" };
const file = join(dir, "topology.yaml");
afterAll(() => rmSync(dir, { recursive: true }));

const run = (...args: readonly string[]) => podctl([...args, "--env", "production"], { env });
const office = "clients: { allow: [{ cidrs: [192.0.2.0/24] }], deny: [{ countries: [FR] }] }";
const restricted = `acme: { pod: pod-a, state: read-only, ${office} }`;
const pods = ["pod-a", "pod-b"];
const write = (assignments: string, ...more: readonly string[]) =>
  writeFileSync(file, topologyText(pods, `assignments: { ${assignments} }`, ...more));

async function apply(assignments: string, ...more: readonly string[]): Promise<void> {
  write(assignments, ...more);
  expect(await run("apply", file, "--yes")).toMatchObject({ code: 0 });
}

const own = "it has an assignment of its own, so the settings of acme do not hold for it";
const added = `  ! every client could use acme/team: ${own}\n  ! clients could push to acme/team: ${own}\n`;

beforeEach(() => apply(restricted, "default: pod-b"));

describe("an assignment that is added below a group with conditions", () => {
  test("is named before the question by assign, plan, apply and the rollback that puts it back", async () => {
    const asked = await run("assign", "acme/team", "pod-a");
    expect([asked.code, asked.stdout]).toEqual([1, expect.stringContaining(added)]);
    write(`${restricted}, acme/team: pod-a`, "default: pod-b");
    expect((await run("plan", file)).stdout).toContain(added);
    expect((await run("apply", file, "--yes")).stdout).toContain(added);
    expect((await run("unassign", "acme/team", "--yes")).stdout).not.toContain("!");
    expect((await run("rollback")).stdout).toContain(added);
  });

  test("is not named if it has the same conditions, and as less open if it lacks one of two", async () => {
    write(`${restricted}, acme/team: { pod: pod-b, state: read-only, ${office} }`, "default: pod-b");
    expect((await run("plan", file)).stdout).not.toContain("!");
    const half = "{ pod: pod-b, state: read-only, clients: { allow: [{ cidrs: [192.0.2.0/24] }] } }";
    write(`${restricted}, acme/team: ${half}`, "default: pod-b");
    expect((await run("plan", file)).stdout).toContain(`  ! more clients could use acme/team: ${own}\n`);
  });

  test("is compared with the next shorter prefix only", async () => {
    await apply(`${restricted}, acme/open: pod-a`, "default: pod-b");
    expect((await run("assign", "acme/open/app", "pod-b")).stdout).not.toContain("!");
    expect((await run("assign", "acmes/team", "pod-b")).stdout).not.toContain("!");
  });

  test("is named at most twenty times", async () => {
    const many = Array.from({ length: 25 }, (_, index) => `acme/t${index}: pod-a`).join(", ");
    write(`${restricted}, ${many}`, "default: pod-b");
    const { stdout } = await run("plan", file);
    expect(stdout.match(/! every client could use/g)).toHaveLength(20);
    expect(stdout).toContain("  ! open a group to every client: 5 more\n");
  });
});

describe("an assignment with conditions that is deleted", () => {
  const byDefault = "it has only the default Pod then, without settings";
  const deleted = `  ! every client could use acme: ${byDefault}\n  ! clients could push to acme: ${byDefault}\n`;

  test("is named before the question by unassign, plan and the rollback that deletes it", async () => {
    const asked = await run("unassign", "acme");
    expect([asked.code, asked.stdout]).toEqual([1, expect.stringContaining(deleted)]);
    write("globex: pod-a", "default: pod-b");
    expect((await run("plan", file)).stdout).toContain(deleted);
    await apply("globex: pod-a", "default: pod-b");
    await apply(restricted, "default: pod-b");
    expect((await run("rollback")).stdout).toContain(deleted);
  });

  test("is compared with the shorter prefix that has its names then, and is not named if no Pod has them", async () => {
    const secret = `acme/secret: { pod: pod-a, ${office} }`;
    await apply(`acme: pod-a, ${secret}`);
    const open = "every client could use acme/secret: only the settings of acme hold for it then";
    expect((await run("unassign", "acme/secret")).stdout).toContain(`  ! ${open}\n`);
    await apply(`${restricted}, ${secret}`);
    expect((await run("unassign", "acme/secret")).stdout).not.toContain("!");
    expect((await run("unassign", "acme")).stdout).not.toContain("!");
  });
});

describe("podctl set of a restriction", () => {
  test("names the deeper assignments for which it does not hold, and at most five", async () => {
    const deeper = ["a", "b", "c", "d", "e", "f"].map((name) => `acme/${name}: pod-a`);
    const strict = `acme/0: { pod: pod-a, ${office} }`;
    await apply(["acme: pod-a", strict, "acme-2/x: pod-a", ...deeper.slice(0, 2)].join(", "));
    const rule = ["clients.allow.cidrs=192.0.2.0/24", "clients.deny.countries=FR"];
    const line = "  ! the settings of acme do not hold for these assignments below it: acme/a, acme/b";
    expect((await run("set", "acme", ...rule)).stdout).toContain(`${line}\n`);
    await apply(["acme: pod-a", strict, ...deeper].join(", "));
    const all = await run("set", "acme", ...rule, "--yes");
    expect([all.code, all.stdout]).toEqual([0, expect.stringContaining(`${line}, acme/c, acme/d, acme/e, and more\n`)]);
    expect((await run("set", "acme", "state=read-only")).stdout).toContain(": acme/0, acme/a,");
    expect((await run("set", "acme", "uploads=edge")).stdout).not.toContain("!");
  });
});
