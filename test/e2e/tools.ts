/** Finds the programs that a test needs. If one is missing, the test fails in CI, and is skipped elsewhere. */
import { accessSync, constants } from "node:fs";
import { delimiter } from "node:path";
import { describe, it } from "vitest";
import { root } from "../../src/local/paths.ts";

/** Debian's folders come before those of PATH, because PATH may lead to a second docker client, which does not fit Debian's dockerd. */
const folders = [
  `${root}.local/bin`,
  `${root}.local/azurite/node_modules/.bin`,
  "/usr/bin",
  "/usr/sbin",
  ...(process.env["PATH"] ?? "").split(delimiter),
];
/** Where `npm run tools` installs the vendors' SDKs. In a list of tools, an SDK has the name of its npm package. */
export const oraclesDir = `${root}.local/oracles`;
const nginxModules = "/usr/lib/nginx/modules";

const registryPod = ["docker-registry", "versitygw", "openssl"];
const dockerd = ["dockerd", "containerd", "docker", "unshare", "root"];
export const needs = {
  registryPods: registryPod,
  distributionPods: ["registry", "versitygw"],
  skopeo: [...registryPod, "skopeo"],
  dockerd,
  docker: [...registryPod, ...dockerd],
  versitygw: ["versitygw", "@aws-sdk/client-s3"],
  azurite: ["azurite-blob", "@azure/storage-blob"],
  nginx: ["nginx", "ngx_http_js_module.so"],
} as const;

export const realPods = [
  ["registry", needs.registryPods],
  ["distribution-v3", needs.distributionPods],
] as const;
export const allPods = [["toy", []], ...realPods] as const;

export function toolPath(name: string): string {
  const path = findTool(name);
  if (path === null) throw new Error(`not installed: ${name}`);
  return path;
}

function findTool(name: string): string | null {
  if (name.endsWith(".so")) return allows(constants.R_OK)(`${nginxModules}/${name}`) ? `${nginxModules}/${name}` : null;
  return folders.map((folder) => `${folder}/${name}`).find(allows(constants.X_OK)) ?? null;
}

const allows = (mode: number) => (path: string) => {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
};

export const findsAll = (tools: readonly string[]): boolean => tools.every(isThere);

/** A test that needs `root` must run as that user. All other names are those of programs or SDKs. */
const isThere = (name: string): boolean =>
  name === "root" ? process.getuid?.() === 0 : isOracle(name) || findTool(name) !== null;

const isOracle = (name: string): boolean => allows(constants.R_OK)(`${oraclesDir}/node_modules/${name}/package.json`);

export function describeWith(tools: readonly string[], title: string, tests: () => void): void {
  const missing = tools.filter((name) => !isThere(name));
  const named = `${title} (missing here: ${missing.join(", ")}; see \`npm run tools\`)`;
  if (missing.length === 0) describe(title, tests);
  else if (process.env["CI"] === undefined) describe.skip(named, tests);
  else
    it(named, () => {
      throw new Error(`missing: ${missing.join(", ")}`);
    });
}
