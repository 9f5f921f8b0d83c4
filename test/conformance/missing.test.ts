import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { run } from "../e2e/command.ts";
import { checkoutIn } from "../support/checkout.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(`${tmpdir()}/registry-edge-`);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

test("npm run conformance fails and names a registry that is missing and cannot be got", async () => {
  const checkout = await checkoutIn(dir, { tools: false });
  // The suite is an empty file, because this run never starts it.
  await mkdir(`${checkout}/.local/bin`);
  await writeFile(`${checkout}/.local/bin/conformance`, "", { mode: 0o755 });
  const args = [`${checkout}/test/conformance/run.ts`, "--only", "distribution-v3"];
  const { code, stdout } = await run(process.execPath, args, { PATH: "" });
  expect(code).toBe(1);
  expect(stdout).toContain("distribution 3.1: Not installed: registry, versitygw.");
  expect(stdout).toContain("Faults: 1");
});
