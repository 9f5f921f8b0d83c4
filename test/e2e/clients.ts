/** Registry clients as commands over plain HTTP. Each client has a folder of its own for its login and its files. */
import { mkdir, writeFile } from "node:fs/promises";
import { type Ended, run } from "./command.ts";
import { skopeoIn } from "./skopeo.ts";
import { toolPath } from "./tools.ts";

/** Images are written `repository:tag`, without the host. */
export type RegistryClient = {
  login(password: string): Promise<Ended>;
  /** Pushes the image of an OCI layout folder. A client that can push only from a store of its own pulls `seed` and pushes that image. */
  push(layout: string, seed: string, image: string): Promise<Ended>;
  /** Copies within the registry, so that the client can ask for mounts instead of sending the blobs. */
  copy(from: string, to: string): Promise<Ended>;
  pull(image: string): Promise<Ended>;
};

export const clients = {
  skopeo: skopeoClient,
  podman: (host: string, home: string) => storingClient("podman", host, home),
  buildah: (host: string, home: string) => storingClient("buildah", host, home),
  crane: craneClient,
  oras: orasClient,
  regctl: regctlClient,
  helm: helmClient,
} as const satisfies Readonly<Record<string, (host: string, home: string) => RegistryClient>>;

function skopeoClient(host: string, home: string): RegistryClient {
  const attempt = (...args: readonly string[]) => skopeoIn(home).attempt(...args);
  const remote = (image: string) => `docker://${host}/${image}`;
  return {
    login: (password) => attempt("login", "--username", "demo", "--password", password, host),
    push: (layout, _, image) => attempt("copy", `oci:${layout}:image`, remote(image)),
    copy: (from, to) => attempt("copy", remote(from), remote(to)),
    pull: (image) => attempt("copy", remote(image), `oci:${home}/pulled:${Date.now()}`),
  };
}

/** podman and buildah keep images in a store. Here the store is on the plain file system, so no overlay mount is left behind. */
export function storeIn(tool: "podman" | "buildah", home: string) {
  const env = { HOME: home, TMPDIR: home, XDG_RUNTIME_DIR: home, REGISTRY_AUTH_FILE: `${home}/auth.json` };
  const store = ["--root", `${home}/store`, "--runroot", `${home}/run`, "--storage-driver", "vfs"];
  return (command: string, ...args: readonly string[]) =>
    run(toolPath(tool), [...store, command, "--tls-verify=false", ...args], env);
}

function storingClient(tool: "podman" | "buildah", host: string, home: string): RegistryClient {
  const attempt = storeIn(tool, home);
  const pull = (image: string) => attempt("pull", `${host}/${image}`);
  const push = async (from: string, to: string) => {
    const pulled = await pull(from);
    return pulled.code === 0 ? attempt("push", `${host}/${from}`, `docker://${host}/${to}`) : pulled;
  };
  return {
    login: (password) => attempt("login", "--username", "demo", "--password", password, host),
    push: (_, seed, image) => push(seed, image),
    copy: push,
    pull,
  };
}

function craneClient(host: string, home: string): RegistryClient {
  const env = { HOME: home, DOCKER_CONFIG: home };
  const attempt = (...args: readonly string[]) => run(toolPath("crane"), ["--insecure", ...args], env);
  return {
    login: (password) => attempt("auth", "login", "--username", "demo", "--password", password, host),
    push: (layout, _, image) => attempt("push", layout, `${host}/${image}`),
    copy: (from, to) => attempt("copy", `${host}/${from}`, `${host}/${to}`),
    pull: (image) => attempt("pull", `${host}/${image}`, `${home}/pulled.tar`),
  };
}

function orasClient(host: string, home: string): RegistryClient {
  const config = `${home}/config.json`;
  const attempt = (...args: readonly string[]) => run(toolPath("oras"), args, { HOME: home });
  const from = ["--from-plain-http", "--from-registry-config", config];
  const to = ["--to-plain-http", "--to-registry-config", config];
  return {
    login: (password) =>
      attempt("login", "--plain-http", "--registry-config", config, "--username", "demo", "--password", password, host),
    push: (layout, _, image) => attempt("copy", "--from-oci-layout", ...to, `${layout}:image`, `${host}/${image}`),
    copy: (source, target) => attempt("copy", ...from, ...to, `${host}/${source}`, `${host}/${target}`),
    pull: (image) => attempt("copy", ...from, "--to-oci-layout", `${host}/${image}`, `${home}/pulled-${Date.now()}:1`),
  };
}

function regctlClient(host: string, home: string): RegistryClient {
  const env = { HOME: home, REGCTL_CONFIG: `${home}/regctl.json` };
  const attempt = (...args: readonly string[]) => run(toolPath("regctl"), args, env);
  return {
    login: async (password) => {
      await attempt("registry", "set", "--tls", "disabled", host);
      return attempt("registry", "login", host, "--user", "demo", "--pass", password);
    },
    push: (layout, _, image) => attempt("image", "copy", `ocidir://${layout}:image`, `${host}/${image}`),
    copy: (from, to) => attempt("image", "copy", `${host}/${from}`, `${host}/${to}`),
    pull: (image) => attempt("image", "copy", `${host}/${image}`, `ocidir://${home}/pulled-${Date.now()}:1`),
  };
}

/** helm handles only charts, so the image's last component is the chart's name, and the components before are its folder. */
function helmClient(host: string, home: string): RegistryClient {
  const attempt = (...args: readonly string[]) =>
    run(toolPath("helm"), [...args, "--plain-http", "--registry-config", `${home}/config.json`], { HOME: home });
  const push = async (image: string) => {
    const { folder, chart, version } = chartOf(image);
    await mkdir(`${home}/${chart}`, { recursive: true });
    await writeFile(`${home}/${chart}/Chart.yaml`, `apiVersion: v2\nname: ${chart}\nversion: ${version}\n`);
    const packed = await run(toolPath("helm"), ["package", `${home}/${chart}`, "-d", home], { HOME: home });
    return packed.code === 0 ? attempt("push", `${home}/${chart}-${version}.tgz`, `oci://${host}/${folder}`) : packed;
  };
  const pull = (image: string) => {
    const { folder, chart, version } = chartOf(image);
    return attempt("pull", `oci://${host}/${folder}/${chart}`, "--version", version, "--destination", home);
  };
  return {
    login: (password) => attempt("registry", "login", host, "--username", "demo", "--password", password),
    push: (_layout, _seed, image) => push(image),
    copy: async (from, to) => {
      const pulled = await pull(from);
      return pulled.code === 0 ? push(to) : pulled;
    },
    pull,
  };
}

function chartOf(image: string) {
  const [repository = "", version = ""] = image.split(":");
  const slash = repository.lastIndexOf("/");
  return { folder: repository.slice(0, slash), chart: repository.slice(slash + 1), version };
}
