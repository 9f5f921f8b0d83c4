import { mkdir } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withStores } from "../support/toy-stack.ts";
import { clients } from "./clients.ts";
import { succeed } from "./command.ts";
import { ctrIn } from "./ctr.ts";
import { buildImage, type Docker, dockerIn } from "./docker.ts";
import { type Front, startFront } from "./front.ts";
import { makeImage, megabyte } from "./images.ts";
import { openStageWithGateways, type StageWithGateways } from "./own-gateways.ts";
import { skopeoIn } from "./skopeo.ts";
import { describeWith, needs, realPods } from "./tools.ts";

/** `SLOW_SECONDS=180 COMMAND_SECONDS=600` is the whole test: uploads of three minutes, tokens of 60 s and all clients. */
const slowSeconds = Number(process.env["SLOW_SECONDS"] ?? 8);
const isWhole = slowSeconds >= 180;
/**
 * With `SLOW_SECONDS=180`, an upload takes 180 s and outlives its token. The token lasts 60 s, and the edge and both registries accept it for 60 s
 * more (distribution, `Leeway`). With the default of 8 s, every upload ends before its token is refused.
 */
const tokenSeconds = Math.round(slowSeconds / 3);
const always = ["crane", "regctl"] as const;
const others = ["skopeo", "podman"] as const;
/**
 * After containerd has given the whole body to the operating system, it waits 30 s for an answer. At this pace, the operating system sends what is in
 * its buffers in much less than 30 s, so containerd does not give up.
 */
const paceBytesPerSecond = 2 * megabyte;
const layerBytes = slowSeconds * paceBytesPerSecond;
const testMs = 3 * slowSeconds * 1_000 + 120_000;

describe.each(isWhole ? realPods : realPods.slice(0, 1))("upload that outlives its token, to %s", (kind, tools) => {
  describeWith([...tools, ...always, ...others, ...needs.dockerd, "ctr"], "by a slow line to the gateway", () => {
    let stage: StageWithGateways;
    let front: Front;
    let docker: Docker | null = null;
    beforeAll(async () => {
      front = await startFront();
      // Every client has to push its layer, so no blob may be mounted from another Pod. With `scheme: pod`, the edge cannot sign the URL that such a
      // mount needs.
      const topology = withStores("[{ scheme: pod }]", "[{ scheme: pod }]");
      stage = await openStageWithGateways(kind, { port: front.port, tokenSeconds, topology });
      front.setTargets([(await stage.startReplica()).port]);
      if (isWhole) docker = await dockerIn(stage.dir);
    });
    afterAll(async () => {
      await docker?.stop();
      await front?.stop();
      await stage?.close();
    });

    it(
      "it completes by PATCH and by one PUT, and the image can be pulled",
      async () => {
        const bySelf = await Promise.all([...always, ...(isWhole ? others : [])].map(prepare));
        const pushes = [...bySelf, ...(docker === null ? [] : await prepareDaemon(docker))];
        front.setPace(paceBytesPerSecond);
        await Promise.all(
          pushes.map(async ({ name, push }) => {
            const startedAtMs = performance.now();
            await push();
            const seconds = (performance.now() - startedAtMs) / 1_000;
            console.log(`${name} pushed in ${seconds.toFixed(0)} s`);
            expect(seconds).toBeGreaterThan(slowSeconds * 0.9);
          }),
        );
        for (const { name, pull } of pushes) await succeed(pull(), `${name} pull`);
      },
      testMs,
    );

    type Push = {
      readonly name: string;
      readonly push: () => Promise<unknown>;
      readonly pull: () => ReturnType<ReturnType<typeof skopeoIn>["attempt"]>;
    };

    async function prepare(name: keyof typeof clients): Promise<Push> {
      const { host, dir } = stage;
      const layout = `${dir}/${name}/image`;
      await mkdir(layout, { recursive: true });
      await makeImage(layout, [layerBytes]);
      const client = clients[name](host, `${dir}/${name}`);
      await succeed(client.login("demo"), `${name} login`);
      if (name === "podman") await seed(layout, name);
      const image = `acme/by-${name}:1`;
      return {
        name,
        push: () => succeed(client.push(layout, `globex/seed-${name}:1`, image), `${name} push`),
        pull: () => client.pull(image),
      };
    }

    async function prepareDaemon(daemon: Docker): Promise<readonly Push[]> {
      const { host, dir } = stage;
      const [byDocker, byCtr] = ["acme/by-docker:1", "acme/by-ctr:1"];
      await daemon("login", "-u", "demo", "-p", "demo", host);
      await buildImage(daemon, `${host}/${byDocker}`, { dir, layerSizes: [layerBytes] });
      await mkdir(`${dir}/ctr`, { recursive: true });
      await makeImage(`${dir}/ctr`, [layerBytes]);
      await seed(`${dir}/ctr`, "ctr");
      const ctr = ctrIn(daemon, host, "containerd 2");
      await ctr.pull("globex/seed-ctr:1");
      const inspect = (image: string) => () =>
        skopeoIn(dir).attempt(
          "copy",
          "--src-creds",
          "demo:demo",
          `docker://${host}/${image}`,
          `oci:${dir}/pulled:${Date.now()}`,
        );
      return [
        { name: "docker", push: () => daemon("push", `${host}/${byDocker}`), pull: inspect(byDocker) },
        { name: "ctr", push: () => ctr.push(`${host}/globex/seed-ctr:1`, byCtr), pull: inspect(byCtr) },
      ];
    }

    async function seed(layout: string, name: string): Promise<void> {
      const to = `docker://${stage.host}/globex/seed-${name}:1`;
      await skopeoIn(stage.dir)("copy", "--dest-creds", "demo:demo", `oci:${layout}:image`, to);
    }
  });
});
