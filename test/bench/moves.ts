/** What `podctl move` costs for one repository with many tags and for a group of many repositories, on toy Pods. */
import { fork } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pMap from "p-map";
import { type Stack, startStack } from "../../src/local/stack.ts";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { createClient, pushBlob } from "../support/client.ts";
import { manifestText, manifestType } from "../support/image.ts";
import type { Cost } from "./podctl-process.ts";

const [repositories = 100, tags = 1_000] = process.argv.slice(2).map(Number);
const pushesAtOnce = 8;

/** Pushes tags, each with a manifest of its own, to repositories that share their blobs. */
async function fill(stack: Stack, names: readonly string[], perRepository: number): Promise<void> {
  const client = createClient(stack.edge);
  await pMap(
    names,
    async (name) => {
      const blobs = [await pushBlob(stack, name, "{}"), await pushBlob(stack, name, "layer")];
      const scope = [`repository:${name}:pull,push`];
      let token = await client.token(scope);
      for (let tag = 0; tag < perRepository; tag += 1) {
        if (tag % 1_000 === 999) token = await client.token(scope);
        const body = JSON.stringify({ ...JSON.parse(manifestText(blobs)), annotations: { tag: String(tag) } });
        const init = { method: "PUT", body, headers: { "Content-Type": manifestType } };
        const answer = await client.get(`/v2/${name}/manifests/t${tag}`, token, init);
        if (answer.status !== 201) throw new Error(`a push was answered ${answer.status}`);
      }
    },
    { concurrency: pushesAtOnce },
  );
}

async function run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Cost> {
  const child = fork(join(import.meta.dirname, "podctl-process.ts"), args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  return new Promise((resolve, reject) => {
    child.once("message", (cost) => resolve(cost as Cost));
    child.once("error", reject);
  });
}

const dir = await mkdtemp(join(tmpdir(), "registry-edge-moves-"));
const stack = await startStack({ edgePort: 0, stateDir: `${dir}/state` });
try {
  await writeStackFile(stack, `${dir}/stack.json`);
  const env = { PODCTL_STACK: `${dir}/stack.json`, NO_COLOR: "1", CLOUDFLARE_ENV: "" };
  const assign = (group: string) =>
    stack.putKv(`route/${group}`, JSON.stringify({ v: 1, pod: "pod-a", revision: 1, state: "active" }));
  const measure = async (group: string, names: readonly string[], perRepository: number): Promise<void> => {
    await assign(group);
    await fill(stack, names, perRepository);
    const options = ["--state", `${dir}/moves`, "--yes", "--wait", "1"];
    const planned = await run(["move", group, "--to", "pod-b", "--plan", ...options], env);
    const moved = await run(["move", group, "--to", "pod-b", ...options], env);
    for (const [what, cost] of [
      ["--plan", planned],
      ["move", moved],
    ] as const) {
      const megabytes = Math.round(cost.maxRssBytes / 1e6);
      process.stdout.write(
        `${group}: ${names.length} repositories, ${perRepository} tags each, ${what}: ${cost.seconds.toFixed(1)} s, ${megabytes} MB\n`,
      );
    }
  };
  for (const [name, size] of [
    ["half", 0.5],
    ["whole", 1],
  ] as const) {
    const names = Array.from({ length: Math.round(repositories * size) }, (_, index) => `${name}-wide/r${index}`);
    await measure(`${name}-wide`, names, 2);
    await measure(`${name}-deep`, [`${name}-deep/app`], Math.round(tags * size));
  }
} finally {
  await stack.stop();
  await rm(dir, { recursive: true });
}
