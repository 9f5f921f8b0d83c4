import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildImage, type Docker, dockerIn } from "./docker.ts";
import { megabyte } from "./images.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

const hangMs = 5_000;
const completeWithinMs = 30_000;

describeWith(needs.docker, "dockerd whose registry hangs for 5 s in the middle of a push", () => {
  let stage: Stage;
  let docker: Docker;

  beforeAll(async () => {
    stage = await openStage("registry");
    docker = await dockerIn(stage.dir);
    await docker("login", "-u", "demo", "-p", "demo", stage.host);
  });
  afterAll(async () => {
    await docker?.stop();
    await stage?.close();
  });

  const seen = (method: string): number =>
    stage.stack.seen("pod-a", "registry").filter((request) => request.method === method).length;

  /** `ms` is the time from the end of the hang to the end of the push. */
  async function endAfterHang(pushed: ReturnType<Docker["attempt"]>) {
    await stage.stack.setFault("pod-a", "registry", { mode: "hang" });
    await sleep(hangMs);
    await stage.stack.setFault("pod-a", "registry", { mode: "none" });
    const backAtMs = performance.now();
    const { code, stderr } = await pushed;
    return { code, stderr, ms: performance.now() - backAtMs };
  }

  // The registry loses each request that comes while it hangs. docker sends a lost layer again, but not a lost config or manifest. The edge repeats
  // no write. So here the hang begins while docker sends the layers, which come first.
  it.each([
    ["POST", 1],
    ["POST", 3],
    ["PATCH", 1],
  ] as const)(
    "its push completes within 30 s after the registry is back, if the hang begins after %s %i",
    async (method, count) => {
      const image = `${stage.host}/acme/hang:${method.toLowerCase()}-${count}`;
      await buildImage(docker, image, { dir: stage.dir, layerSizes: [megabyte, 10 * megabyte, 30 * megabyte] });
      stage.stack.clearSeen();
      const pushed = docker.attempt("push", image);
      await expect.poll(() => seen(method), { timeout: 20_000, interval: 2 }).toBeGreaterThanOrEqual(count);
      const { code, stderr, ms } = await endAfterHang(pushed);
      console.log(`the push completed ${(ms / 1000).toFixed(1)} s after the registry was back`);
      const lost = stage.stack.seen("pod-a", "registry").filter(({ status }) => status === null);
      console.log(lost.map(({ method, path }) => `${method} ${path.replace(/\?.*/, "?…")}`).join("\n"));
      expect([code, stderr]).toEqual([0, ""]);
      expect(ms).toBeLessThan(completeWithinMs);
    },
    400_000,
  );

  it("its push ends within 30 s after the registry is back if the manifest was lost, and the next push completes", async () => {
    const registrySeen = () => stage.stack.seen("pod-a", "registry");
    const image = (tag: string) => `${stage.host}/acme/lost:${tag}`;
    await buildImage(docker, image("1"), { dir: stage.dir, layerSizes: [megabyte] });
    await docker("push", image("1"));
    for (const tag of ["2", "3"]) await docker("tag", image("1"), image(tag));
    stage.stack.clearSeen();
    // The registry has all blobs, so these pushes send only the manifest.
    await docker("push", image("2"));
    const before = registrySeen().findIndex(({ method }) => method === "PUT");
    stage.stack.clearSeen();
    const pushed = docker.attempt("push", image("3"));
    await expect.poll(() => registrySeen().length, { timeout: 20_000, interval: 1 }).toBeGreaterThanOrEqual(before);
    const { code, stderr, ms } = await endAfterHang(pushed);
    console.log(`the push ended ${(ms / 1000).toFixed(1)} s after the registry was back`);
    const lost = registrySeen().filter(({ status }) => status === null);
    expect(lost.map(({ method, path }) => `${method} ${path}`)).toContain("PUT /v2/acme/lost/manifests/3");
    expect([code, stderr]).toEqual([1, expect.stringContaining("503 Service Unavailable")]);
    expect(ms).toBeLessThan(completeWithinMs);
    await docker("push", image("3"));
  }, 400_000);
});
