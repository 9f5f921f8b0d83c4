import { afterAll, beforeAll, expect, it } from "vitest";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { podctl } from "../support/podctl.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

describeWith(needs.registryPods, "podctl doctor with docker-registry Pods", () => scenario("registry"));
describeWith(needs.distributionPods, "podctl doctor with distribution v3 Pods", () => scenario("distribution-v3"));

function scenario(pods: PodKind): void {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage(pods);
    await writeStackFile(stage.stack, `${stage.dir}/stack.json`);
  });
  afterAll(() => stage?.close());
  const doctor = (...args: readonly string[]) =>
    podctl(["doctor", ...args], { env: { PODCTL_STACK: `${stage.dir}/stack.json`, NO_COLOR: "1" } });

  it("it finds nothing wrong, and sees that the registry refuses a manifest with a foreign blob", async () => {
    const { code, stdout } = await doctor("--write");
    expect([code, stdout]).toEqual([0, expect.stringContaining("Nothing is wrong")]);
    expect(stdout).toMatch(
      /^pod-b +manifests +ok +a manifest whose blob is not in the repository is refused: MANIFEST_BLOB_UNKNOWN$/m,
    );
    expect(stdout).toMatch(/^pod-a +deletes +ok/m);
  });

  it("it finds a storage that is down", async () => {
    await stage.stack.setFault("pod-a", "storage", { mode: "refuse" });
    const { code, stdout } = await doctor();
    await stage.stack.setFault("pod-a", "storage", { mode: "none" });
    expect([code, stdout]).toEqual([1, expect.stringMatching(/^pod-a +store 0 \(s3\) +store-unreachable/m)]);
  });
}
