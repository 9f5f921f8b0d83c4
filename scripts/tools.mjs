// Installs the programs that e2e and conformance need in addition to the packages of package.json. All go into .local except Debian's packages, which
// are installed only if this script runs as root.
import { spawnSync } from "node:child_process";
import { accessSync, constants, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter } from "node:path";
import { fileURLToPath } from "node:url";

const local = fileURLToPath(new URL("../.local", import.meta.url));
const bin = `${local}/bin`;
/** The folder whose lockfile pins the vendors' SDKs together with their dependencies, which often contain the code that signs. */
const oracles = fileURLToPath(new URL("../test/e2e/oracles", import.meta.url));
const installMs = 900_000;
const keptLines = 4;
const npmOptions = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];

/** The pinned package of each program. `go install` names a program after the last element of this path. */
const goPrograms = {
  versitygw: "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
  registry: "github.com/distribution/distribution/v3/cmd/registry@v3.1.2",
  conformance: "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111",
  crane: "github.com/google/go-containerregistry/cmd/crane@v0.22.1",
  oras: "oras.land/oras/cmd/oras@v1.3.6",
  regctl: "github.com/regclient/regclient/cmd/regctl@v0.11.7",
  helm: "helm.sh/helm/v4/cmd/helm@v4.3.1",
  // BuildKit, and docker with the containerd store, push with the code of containerd 2, but Debian has only containerd 1.6.
  ctr: "github.com/containerd/containerd/v2/cmd/ctr@v2.4.2",
};
/** Servers from npm. They are too large for package-lock.json, which every checkout installs. */
const npmServers = { azurite: "azurite@3.37.0" };
const debianPrograms = {
  "docker-registry": "docker-registry",
  skopeo: "skopeo",
  docker: "docker.io",
  dockerd: "docker.io",
  containerd: "containerd",
  openssl: "openssl",
  curl: "curl",
  podman: "podman",
  buildah: "buildah",
  nginx: "nginx-light",
  "ngx_http_js_module.so": "libnginx-mod-http-js",
};

mkdirSync(bin, { recursive: true });
const missing = [
  ...getDebianPrograms(),
  ...getOracles(),
  ...Object.entries(npmServers).flatMap(getNpmServer),
  ...Object.entries(goPrograms).flatMap(getGoProgram),
];
for (const line of missing) console.error(`tools: ${line}`);
process.exitCode = missing.length === 0 ? 0 : 1;

function getGoProgram([name, pinned]) {
  const stamp = `${bin}/${name}.version`;
  if (!isExecutable(`${bin}/${name}`)) rmSync(stamp, { force: true });
  return getOnce({ name, pinned, stamp }, () => run("go", ["install", pinned], { GOBIN: bin }));
}

function getOracles() {
  const folder = `${local}/oracles`;
  const pinned = readFileSync(`${oracles}/package-lock.json`, "utf8");
  return getOnce({ name: "vendors' SDKs", pinned, stamp: `${folder}/.version` }, () => {
    mkdirSync(folder, { recursive: true });
    for (const file of ["package.json", "package-lock.json"]) copyFileSync(`${oracles}/${file}`, `${folder}/${file}`);
    return run("npm", ["ci", "--prefix", folder, ...npmOptions], {});
  });
}

function getNpmServer([name, pinned]) {
  const folder = `${local}/${name}`;
  return getOnce({ name, pinned, stamp: `${folder}/.version` }, () => {
    mkdirSync(folder, { recursive: true });
    return run("npm", ["install", "--prefix", folder, ...npmOptions, pinned], {});
  });
}

/** Calls `install` unless the file `stamp` says that `pinned` is installed. `install` returns null, or what went wrong. */
function getOnce({ name, pinned, stamp }, install) {
  if (readIfThere(stamp) === pinned) return [];
  console.error(`tools: installing ${name} …`);
  const failure = install();
  if (failure !== null) return [`no ${name}: ${failure}`];
  writeFileSync(stamp, pinned);
  return [];
}

function getDebianPrograms() {
  const wanted = Object.entries(debianPrograms).filter(([program]) => !isInstalled(program));
  if (wanted.length === 0) return [];
  const packages = [...new Set(wanted.map(([, name]) => name))];
  const command = `apt-get install ${packages.join(" ")}`;
  if (process.getuid?.() !== 0) return [`as root: ${command}`];
  console.error(`tools: ${command} …`);
  // With RUNLEVEL=1, apt starts no service of a new package. Such a service could take a port of this machine.
  const env = { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const failure =
    run("apt-get", ["update", "-qq"], env) ??
    run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...packages], env);
  const stillMissing = wanted.map(([program]) => program).filter((program) => !isInstalled(program));
  return stillMissing.length === 0 ? [] : [`no ${stillMissing.join(", ")}: ${failure ?? "not in these packages"}`];
}

/** Returns null if the command succeeds, otherwise the last lines of its error output. */
function run(command, args, env) {
  const options = { env: { ...process.env, ...env }, encoding: "utf8", timeout: installMs };
  const { status, error, stderr } = spawnSync(command, args, options);
  if (status === 0) return null;
  return error?.message ?? (stderr.trim().split("\n").slice(-keptLines).join(" | ") || `ended with ${status}`);
}

/** Also looks into Debian's own folders, because PATH may not contain them. */
function isInstalled(program) {
  const folders = ["/usr/bin", "/usr/sbin", ...(process.env.PATH ?? "").split(delimiter)];
  if (program.endsWith(".so")) return isThere(`/usr/lib/nginx/modules/${program}`, constants.R_OK);
  return folders.some((folder) => isExecutable(`${folder}/${program}`));
}

function isExecutable(path) {
  return isThere(path, constants.X_OK);
}

function isThere(path, access) {
  try {
    accessSync(path, access);
    return true;
  } catch {
    return false;
  }
}

function readIfThere(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
