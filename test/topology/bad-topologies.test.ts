import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { CliFailure } from "../../src/cli/failure.ts";
import { createProgram } from "../../src/cli/program.ts";
import { account, apiToken, type CloudflareKv, namespace, startCloudflareKv } from "../support/cloudflare-kv.ts";
import { badTopologies } from "./bad-topologies.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-topology-"));
let server: CloudflareKv;
beforeAll(async () => {
  server = await startCloudflareKv();
  const config = `name = "edge"
compatibility_date = "2026-10-23"
account_id = "${account}"
routes = [{ pattern = "registry.example.com", custom_domain = true }]
kv_namespaces = [{ binding = "DIRECTORY", id = "${namespace}" }]
`;
  writeFileSync(join(dir, "wrangler.toml"), config);
  vi.stubEnv("PODCTL_WRANGLER_CONFIG", join(dir, "wrangler.toml"));
  vi.stubEnv("CLOUDFLARE_API_TOKEN", apiToken);
  vi.stubEnv("CLOUDFLARE_BASE_URL", server.baseUrl);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await server.stop();
  rmSync(dir, { recursive: true });
});
beforeEach(() => server.heal());

test("there are at least 60", () => expect(badTopologies.length).toBeGreaterThanOrEqual(60));

test.each(badTopologies)("$name: one clear error, and no call to KV", async ({ text, lines, error }) => {
  const file = join(dir, "topology.yaml");
  writeFileSync(file, text);
  if (lines !== undefined) writeFileSync(join(dir, "assignments.tsv"), lines);
  const run = createProgram().parseAsync(["apply", file, "--yes", "--env", "production"], { from: "user" });
  const failure: unknown = await run.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(failure).toBeInstanceOf(CliFailure);
  const { message } = failure as CliFailure;
  expect(message).toContain(error);
  expect(message.split("\n")).toHaveLength(1);
  expect(message.length).toBeLessThan(500);
  expect(message).toMatch(/^(topology\.yaml|assignments\.tsv|nowhere\.tsv):\d+:\d+: /);
  expect(message).not.toMatch(/hunter2|secret-d/);
  expect(server.calls).toEqual([]);
});
