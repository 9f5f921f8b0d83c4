/** A dockerd for one test. It pushes, pulls and builds, but runs no containers and makes no networks for them. */
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { childEnv, startChild } from "../../src/local/child-process.ts";
import { startWatchdog } from "../../src/local/teardown.ts";
import { type Ended, run, succeed } from "./command.ts";
import { toolPath } from "./tools.ts";

export type Docker = {
  (...args: readonly string[]): Promise<string>;
  attempt(...args: readonly string[]): Promise<Ended>;
  /** The socket of this dockerd's containerd, for calls of `ctr`. */
  readonly containerd: string;
  /** The variables with which a script can call `docker` by name. */
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
};

/** Images, mounts and login are below `home`, which can be removed after `stop`. */
export async function dockerIn(home: string): Promise<Docker> {
  const dir = `${home}/docker`;
  const watchdog = startWatchdog();
  const daemon = await startDaemon(dir, watchdog).catch((error: unknown) => {
    watchdog.dismiss();
    throw error;
  });
  const env = { HOME: dir, DOCKER_CONFIG: `${dir}/config`, DOCKER_HOST: socketOf(dir), DOCKER_BUILDKIT: "0" };
  const attempt = (...args: readonly string[]) => run(toolPath("docker"), args, env);
  const docker = (...args: readonly string[]) => succeed(attempt(...args), `docker ${args.join(" ")}`);
  const stop = async () => {
    await daemon.stop();
    watchdog.dismiss();
  };
  return Object.assign(docker, { attempt, env, stop, containerd: `${dir}/exec/containerd/containerd.sock` });
}

/** dockerd gets namespaces of its own. So when its first process ends, all its other processes, such as containerd, and all its mounts end too. */
async function startDaemon(dir: string, watchdog: ReturnType<typeof startWatchdog>) {
  const config = `${dir}/daemon.json`;
  await mkdir(dir, { recursive: true });
  await writeFile(config, JSON.stringify(daemonConfig(dir)));
  const namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  return startChild({
    name: "dockerd",
    command: "unshare",
    args: [...namespaces, toolPath("dockerd"), "--config-file", config],
    // If containerd answers too slowly, dockerd restarts it, and containerd first writes stack traces to TMPDIR. So TMPDIR is a folder that is
    // removed after the test.
    env: { ...childEnv(), TMPDIR: dir },
    watchdog,
    // dockerd listens on a socket file, so it has no port.
    readyPort: (output) => (output.includes("API listen on") ? 0 : null),
  });
}

const daemonConfig = (dir: string): object => ({
  hosts: [socketOf(dir)],
  pidfile: `${dir}/dockerd.pid`,
  "data-root": `${dir}/data`,
  "exec-root": `${dir}/exec`,
  "storage-driver": "vfs",
  bridge: "none",
  iptables: false,
});

const socketOf = (dir: string): string => `unix://${dir}/docker.sock`;

export async function buildImage(
  docker: Docker,
  image: string,
  { dir, layerSizes }: { readonly dir: string; readonly layerSizes: readonly number[] },
): Promise<void> {
  const context = `${dir}/context`;
  await mkdir(context, { recursive: true });
  for (const [index, bytes] of layerSizes.entries()) await writeFile(`${context}/${index}`, randomBytes(bytes));
  const copies = layerSizes.map((_, index) => `COPY ${index} /\n`).join("");
  await writeFile(`${context}/Dockerfile`, `FROM scratch\n${copies}`);
  await docker("build", "--quiet", "--no-cache", "--tag", image, context);
}
