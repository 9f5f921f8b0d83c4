import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { CliFailure } from "../../src/podctl/failure.ts";
import { createProgram } from "../../src/podctl/program.ts";
import { accountEnv } from "../support/podctl.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";
import { badTopologies } from "./bad-topologies.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-topology-"));
const { server } = await useCloudflareKv();
beforeAll(() => {
  for (const [name, value] of Object.entries(accountEnv(dir, server))) vi.stubEnv(name, value);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

test("at least 60 bad topologies are tried", () => expect(badTopologies.length).toBeGreaterThanOrEqual(60));

test.each(badTopologies)(
  "apply refuses $name with one clear error and makes no call to KV",
  async ({ text, lines, error }) => {
    const file = join(dir, "topology.yaml");
    writeFileSync(file, text);
    if (lines !== undefined) writeFileSync(join(dir, "assignments.tsv"), lines);
    const args = ["apply", file, "--yes", "--env", "production"];
    const run = (await createProgram(args)).parseAsync(args, { from: "user" });
    const failure: unknown = await run.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    expect(failure).toBeInstanceOf(CliFailure);
    // The message has the whole path of the file, because many folders may have a topology.yaml.
    const full = (failure as CliFailure).message;
    expect(full.slice(0, dir.length + 1)).toBe(`${dir}/`);
    const message = full.slice(dir.length + 1);
    expect(message).toContain(error);
    expect(message.split("\n")).toHaveLength(1);
    expect(message.length).toBeLessThan(500);
    expect(message).toMatch(/^(topology\.yaml|assignments\.tsv|nowhere\.tsv):\d+:\d+: /);
    expect(message).not.toMatch(/hunter2|secret-d/);
    expect(server.calls).toEqual([]);
  },
);
