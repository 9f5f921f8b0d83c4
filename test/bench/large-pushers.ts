/** How each client pushes an image. The client has the image already, so that the time is only that of the push. */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { startRegistry } from "../../src/local/pods/registry-pod.ts";
import { loopback } from "../../src/local/ports.ts";
import { startWatchdog } from "../../src/local/teardown.ts";
import { clients, storeIn } from "../e2e/clients.ts";
import { succeed } from "../e2e/command.ts";
import { ctrIn } from "../e2e/ctr.ts";
import { type Docker, dockerIn } from "../e2e/docker.ts";
import { skopeoIn } from "../e2e/skopeo.ts";
import type { Stage } from "../e2e/stage.ts";

type Size = "small" | "large";
/** Two OCI layout folders. Each holds one image, with the tag `image`. */
export type Layouts = Readonly<Record<Size, string>>;

export type LargePusher = {
  /** The host of the registry itself, for a push that passes neither edge nor gateway. */
  readonly straight: string;
  push(size: Size, host: string, image: string): Promise<unknown>;
  /** Pulls the image with all its blobs, even if the client has some of them. */
  pull(host: string, image: string): Promise<unknown>;
  close(): Promise<void>;
};

export const openPushers = {
  docker: openDocker,
  ctr: openCtr,
  podman: openPodman,
  skopeo: (stage: Stage, layouts: Layouts) => openByLayout("skopeo", stage, layouts),
  crane: openCrane,
  regctl: (stage: Stage, layouts: Layouts) => openByLayout("regctl", stage, layouts),
} as const;
export type PusherName = keyof typeof openPushers;
export const pusherNames = Object.keys(openPushers) as readonly PusherName[];

const sizes = ["small", "large"] as const;

const hostsOf = ({ host, stack }: Stage) => ({
  edge: host,
  straight: new URL(stack.pods["pod-a"].registry.direct).host,
});

async function openByLayout(name: "skopeo" | "crane" | "regctl", stage: Stage, layouts: Layouts): Promise<LargePusher> {
  const home = `${stage.dir}/${name}`;
  await mkdir(home, { recursive: true });
  for (const host of Object.values(hostsOf(stage))) {
    await succeed(clients[name](host, home).login("demo"), `${name} login`);
  }
  return {
    straight: hostsOf(stage).straight,
    push: (size, host, image) => succeed(clients[name](host, home).push(layouts[size], "", image), `${name} push`),
    pull: (host, image) => succeed(clients[name](host, home).pull(image), `${name} pull`),
    close: () => rm(home, { recursive: true, force: true }),
  };
}

/**
 * For pushes without the edge, crane gets a second process of the registry, on the same storage and without tokens. The first process names a token
 * service on a private address, which crane asks only if the registry is at the same address.
 */
async function openCrane(stage: Stage, layouts: Layouts, program: string): Promise<LargePusher> {
  const crane = await openByLayout("crane", stage, layouts);
  const config = `${stage.stack.stateDir}/pods/pod-a/registry`;
  const { auth: _, ...open } = JSON.parse(await readFile(`${config}.json`, "utf8")) as { readonly auth: object };
  await writeFile(`${config}-open.json`, JSON.stringify(open));
  const watchdog = startWatchdog();
  const registry = await startRegistry(`${config}-open.json`, { name: "the open registry", program, watchdog });
  const close = async () => {
    await registry.stop();
    watchdog.dismiss();
    await crane.close();
  };
  return { ...crane, straight: `${loopback}:${registry.port}`, close };
}

async function openPodman(stage: Stage, layouts: Layouts): Promise<LargePusher> {
  const home = `${stage.dir}/podman`;
  await mkdir(home, { recursive: true });
  const podman = (command: string, ...args: readonly string[]) =>
    succeed(storeIn("podman", home)(command, ...args), `podman ${command}`);
  for (const host of Object.values(hostsOf(stage)))
    await podman("login", "--username", "demo", "--password", "demo", host);
  // An image that podman reads from a layout gets the layout's temporary path as its name. So skopeo copies the image into podman's store.
  const store = `containers-storage:[vfs@${home}/store+${home}/run]`;
  for (const size of sizes) await skopeoIn(home)("copy", `oci:${layouts[size]}:image`, `${store}localhost/${size}:1`);
  return {
    straight: hostsOf(stage).straight,
    push: (size, host, image) => podman("push", `localhost/${size}:1`, `docker://${host}/${image}`),
    pull: async (host, image) => {
      await rm(`${home}/store`, { recursive: true, force: true });
      await podman("pull", `${host}/${image}`);
    },
    close: () => rm(home, { recursive: true, force: true }),
  };
}

async function openDocker(stage: Stage, layouts: Layouts): Promise<LargePusher> {
  const { docker, close } = await openDaemon(stage);
  const socket = docker.env["DOCKER_HOST"] ?? "";
  for (const host of Object.values(hostsOf(stage))) await docker("login", "-u", "demo", "-p", "demo", host);
  for (const size of sizes) {
    await skopeoIn(stage.dir)(
      "copy",
      "--dest-daemon-host",
      socket,
      `oci:${layouts[size]}:image`,
      `docker-daemon:${size}:1`,
    );
  }
  return {
    straight: hostsOf(stage).straight,
    push: async (size, host, image) => {
      await docker("tag", `${size}:1`, `${host}/${image}`);
      await docker("push", `${host}/${image}`);
    },
    pull: async (host, image) => {
      await docker(
        "image",
        "rm",
        ...(await docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")).trim().split("\n"),
      );
      await docker("pull", `${host}/${image}`);
    },
    close,
  };
}

/**
 * ctr can push only images that containerd has. So we copy the images into the registry, and containerd fetches them. The registry is emptied before
 * a push is measured.
 */
async function openCtr(stage: Stage, layouts: Layouts): Promise<LargePusher> {
  const { docker, close } = await openDaemon(stage);
  const { straight } = hostsOf(stage);
  const seedOf = (size: Size) => `acme/seed-${size}:1`;
  for (const size of sizes) {
    const to = `docker://${straight}/${seedOf(size)}`;
    await skopeoIn(stage.dir)("copy", "--dest-creds", "demo:demo", `oci:${layouts[size]}:image`, to);
  }
  const ctr = (host: string) => ctrIn(docker, host, "containerd 2");
  for (const size of sizes) await ctr(straight).fetch(seedOf(size));
  return {
    straight,
    push: (size, host, image) => ctr(host).push(`${straight}/${seedOf(size)}`, image),
    pull: (host, image) => ctr(host).pull(image),
    close,
  };
}

async function openDaemon({ dir }: Stage): Promise<{ readonly docker: Docker; readonly close: () => Promise<void> }> {
  const docker = await dockerIn(dir);
  const close = async () => {
    await docker.stop();
    await rm(`${dir}/docker`, { recursive: true, force: true });
  };
  return { docker, close };
}
