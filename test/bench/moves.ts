/**
 * What `podctl move` costs on toy Pods: `deep` is one repository with many tags, and `wide` is a group of many repositories. Each is measured at a
 * quarter, a half and the whole of its size. The cost of one tag or repository should stay the same.
 */
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pMap from "p-map";
import { type Stack, startStack } from "../../src/local/stack.ts";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { manifestText, manifestType } from "../support/image.ts";
import type { Cost } from "./podctl-process.ts";

const [shape = "deep", sizeText] = process.argv.slice(2);
const isDeep = shape === "deep";
const size = Number(sizeText ?? (isDeep ? 34_000 : 3_345));
const unit = isDeep ? "tag" : "repository";
const pushesAtOnce = 8;

const digestOf = (text: string): string => `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** Pushes go to the Pod itself, because the edge would make them slower. */
async function openPod({ pods }: Stack, name: string) {
  const { registry, token } = pods["pod-a"];
  const query = new URLSearchParams({ service: "pod-a-registry", scope: `repository:${name}:pull,push` });
  const headers = { Authorization: `Basic ${btoa("demo:demo")}` };
  const given = (await (await fetch(`${token.direct}/jwt/auth?${query}`, { headers })).json()) as { token: string };
  return async (method: string, path: string, body: string, type = "application/octet-stream"): Promise<void> => {
    const sent = { Authorization: `Bearer ${given.token}`, "Content-Type": type };
    const answer = await fetch(`${registry.direct}/v2/${name}/${path}`, { method, body, headers: sent });
    if (answer.status !== 201) throw new Error(`a push was answered ${answer.status}: ${await answer.text()}`);
    await answer.arrayBuffer();
  };
}

/** A token of the toy Pods lives for five minutes, so we ask for a new one after this many tags. */
const tagsOfToken = 500;

/** Pushes an image for each tag. The images share a config, which only this repository has, and a layer, which every repository has. */
async function pushImages(stack: Stack, name: string, tags: readonly string[]): Promise<void> {
  const push = await openPod(stack, name);
  const blobs = [JSON.stringify({ name }), "the layer that all have"];
  for (const blob of blobs) await push("POST", `blobs/uploads/?digest=${digestOf(blob)}`, blob);
  const named = blobs.map((blob) => ({ digest: digestOf(blob), size: Buffer.byteLength(blob) }));
  for (const tag of tags) {
    const body = JSON.stringify({ ...JSON.parse(manifestText(named)), annotations: { tag } });
    await push("PUT", `manifests/${tag}`, body, manifestType);
  }
}

async function fill(stack: Stack, group: string, units: number): Promise<void> {
  const numbers = Array.from({ length: units }, (_, index) => index);
  const many = Map.groupBy(numbers, (index) => Math.floor(index / tagsOfToken)).values();
  const pushes = isDeep
    ? [...many].map(
        (some) => () =>
          pushImages(
            stack,
            `${group}/app`,
            some.map((index) => `t${index}`),
          ),
      )
    : numbers.map((index) => () => pushImages(stack, `${group}/r${index}`, ["1", "2"]));
  await pMap(pushes, (push) => push(), { concurrency: pushesAtOnce });
}

async function run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Cost> {
  const child = fork(join(import.meta.dirname, "podctl-process.ts"), args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  return new Promise((resolve, reject) => {
    child.once("message", (cost) => resolve(cost as Cost));
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`podctl ended without its cost: ${args.join(" ")}`)));
  });
}

const dir = await mkdtemp(join(tmpdir(), "registry-edge-moves-"));
const stack = await startStack({ edgePort: 0, stateDir: `${dir}/state` });
try {
  await writeStackFile(stack, `${dir}/stack.json`);
  const env = { PODCTL_STACK: `${dir}/stack.json`, NO_COLOR: "1", CLOUDFLARE_ENV: "" };
  process.stdout.write(
    `| size | command | seconds | ms for one ${unit} | CPU ms for one ${unit} | memory |\n|---|---|---|---|---|---|\n`,
  );
  for (const part of [0.25, 0.5, 1]) {
    const units = Math.round(size * part);
    const group = `${shape}-${units}`;
    await stack.putKv(`route/${group}`, JSON.stringify({ v: 1, pod: "pod-a", revision: 1, state: "active" }));
    await fill(stack, group, units);
    const options = ["--state", `${dir}/moves`, "--yes", "--wait", "0"];
    for (const more of [["--plan"], []]) {
      const { seconds, cpuSeconds, maxRssBytes, exitCode } = await run(
        ["move", group, "--to", "pod-b", ...more, ...options],
        env,
      );
      if (exitCode !== 0) throw new Error(`podctl ended with ${exitCode}`);
      const cells = [
        ...[units.toLocaleString("en"), more[0] ?? "the move", seconds.toFixed(1)],
        ...[
          ((seconds * 1_000) / units).toFixed(1),
          ((cpuSeconds * 1_000) / units).toFixed(2),
          `${Math.round(maxRssBytes / 1e6)} MB`,
        ],
      ];
      process.stdout.write(`| ${cells.join(" | ")} |\n`);
    }
  }
} finally {
  await stack.stop();
  await rm(dir, { recursive: true });
}
