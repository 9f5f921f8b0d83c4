import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { root } from "../../src/local/paths.ts";
import { dockerIn } from "./docker.ts";
import { processesNaming } from "./processes.ts";
import { describeWith, needs } from "./tools.ts";

describeWith(needs.dockerd, "dockerd of a test", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(`${tmpdir()}/registry-edge-e2e-`);
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it("it leaves no process and no mount when it is stopped, and its folder can be removed", async () => {
    const docker = await dockerIn(dir);
    await docker("version");
    expect(await processesNaming(dir)).not.toEqual([]);
    await docker.stop();
    await expectNothingLeft();
    await rm(dir, { recursive: true });
  });

  it("it leaves no process and no mount when the tests are killed", async () => {
    const script = `
      const { dockerIn } = await import("./test/e2e/docker.ts");
      await dockerIn(process.argv[1]);
      console.log("up");
      setInterval(() => {}, 1000);`;
    const tests = spawn(process.execPath, ["--input-type=module", "-e", script, dir], { cwd: root });
    await once(tests.stdout, "data");
    expect(await processesNaming(dir)).not.toEqual([]);
    tests.kill("SIGKILL");
    await vi.waitFor(expectNothingLeft, { timeout: 10_000 });
  });

  async function expectNothingLeft(): Promise<void> {
    expect(await processesNaming(dir)).toEqual([]);
    expect((await readFile("/proc/mounts", "utf8")).split("\n").filter((mount) => mount.includes(dir))).toEqual([]);
  }
});
