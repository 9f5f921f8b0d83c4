/**
 * `COMMAND_SECONDS=1200 node test/bench/large-layers.ts --mb 2148`: measures how fast clients push a layer of this size to registries, directly and
 * through the Pod's gateway, and how much memory that takes. The bench needs root, and four times the layer's size on the disk.
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { findBinaries } from "../../src/local/pods/find-binaries.ts";
import { freePort } from "../../src/local/ports.ts";
import { makeImage, megabyte } from "../e2e/images.ts";
import { openStageWithGateways, type StageWithGateways } from "../e2e/own-gateways.ts";
import { processIdsNaming } from "../e2e/processes.ts";
import { withStores } from "../support/toy-stack.ts";
import { type LargePusher, openPushers, type PusherName, pusherNames } from "./large-pushers.ts";

const { values } = parseArgs({
  options: {
    mb: { type: "string", default: "150" },
    pods: { type: "string", default: "registry,distribution-v3" },
    clients: { type: "string", default: pusherNames.join(",") },
  },
});
const layerBytes = Number(values.mb) * megabyte;
const smallBytes = 20 * megabyte;
const bodyLimitBytes = 100 * megabyte;
const mostGrowthBytes = 64 * megabyte;
const leastRatio = 0.9;

type Row = {
  readonly pods: string;
  readonly client: string;
  readonly straightMBs: number;
  readonly gatewayMBs: number;
  readonly ratio: number;
  readonly workerdGrowthMB: number;
  readonly gatewayGrowthMB: number;
  /** The largest body that passed through the edge. */
  readonly edgeBytes: number;
};

const rows: Row[] = [];
for (const pods of values.pods.split(",") as ("registry" | "distribution-v3")[]) {
  const port = await freePort();
  const topology = withStores("[{ scheme: pod }]", "[{ scheme: pod }]");
  const stage = await openStageWithGateways(pods, { port, past: "taps", bodyLimitBytes, topology });
  try {
    await stage.startReplica(port);
    rows.push(...(await measureAll(pods, stage)));
  } finally {
    await stage.close();
  }
}
console.table(rows);
const isGood = ({ ratio, workerdGrowthMB, gatewayGrowthMB, edgeBytes }: Row) =>
  ratio >= leastRatio &&
  Math.max(workerdGrowthMB, gatewayGrowthMB) * megabyte < mostGrowthBytes &&
  edgeBytes < megabyte;
if (!rows.every(isGood)) process.exitCode = 1;

async function measureAll(pods: string, stage: StageWithGateways): Promise<readonly Row[]> {
  const names = values.clients.split(",") as PusherName[];
  const [program] = findBinaries([pods === "registry" ? "docker-registry" : "registry"]);
  const layouts = { small: `${stage.dir}/small`, large: `${stage.dir}/large` };
  await mkdir(layouts.small, { recursive: true });
  await mkdir(layouts.large, { recursive: true });
  await makeImage(layouts.small, [smallBytes]);
  await makeImage(layouts.large, [layerBytes]);
  const measured: Row[] = [];
  for (const name of names) {
    const pusher = await openPushers[name](stage, layouts, program);
    try {
      const row = { pods, client: name, ...(await measure(stage, name, pusher)) };
      console.log(JSON.stringify(row));
      measured.push(row);
    } finally {
      await pusher.close();
      await emptyRegistry(stage);
    }
  }
  return measured;
}

async function measure(stage: StageWithGateways, name: string, client: LargePusher) {
  const processes = { workerd: [stage.stack.workerdPid()], gateway: await processIdsNaming(stage.program) };
  // The first push of a process loads code and fills pools, so this push is not measured.
  await client.push("small", stage.host, `acme/warm-${name}:1`);
  await emptyRegistry(stage);
  const small = await peakBytes(processes, () => client.push("small", stage.host, `acme/small-${name}:1`));
  await emptyRegistry(stage);
  const straightSeconds = await secondsOf(() => client.push("large", client.straight, `acme/straight-${name}:1`));
  await emptyRegistry(stage);
  stage.stack.clearSeen();
  let gatewaySeconds = Number.NaN;
  const large = await peakBytes(processes, async () => {
    gatewaySeconds = await secondsOf(() => client.push("large", stage.host, `acme/large-${name}:1`));
  });
  await stage.stack.edgeSettled();
  const edgeBytes = Math.max(...stage.stack.edgeSeen().map(({ requestBytes }) => requestBytes ?? 0));
  await client.pull(stage.host, `acme/large-${name}:1`);
  const growth = (key: keyof typeof processes) => Math.round((large[key] - small[key]) / megabyte);
  return {
    straightMBs: Math.round(layerBytes / megabyte / straightSeconds),
    gatewayMBs: Math.round(layerBytes / megabyte / gatewaySeconds),
    ratio: Number((straightSeconds / gatewaySeconds).toFixed(2)),
    workerdGrowthMB: growth("workerd"),
    gatewayGrowthMB: growth("gateway"),
    edgeBytes,
  };
}

async function secondsOf(act: () => Promise<unknown>): Promise<number> {
  const startedAtMs = performance.now();
  await act();
  return (performance.now() - startedAtMs) / 1_000;
}

async function peakBytes<Name extends string>(
  processes: Readonly<Record<Name, readonly number[]>>,
  act: () => Promise<unknown>,
): Promise<Record<Name, number>> {
  const named = Object.entries<readonly number[]>(processes) as [Name, readonly number[]][];
  // proc(5): 5 resets the peak resident set size to the current one.
  for (const [, pids] of named) for (const pid of pids) await writeFile(`/proc/${pid}/clear_refs`, "5");
  await act();
  const peaks = named.map(async ([name, pids]) => [name, Math.max(...(await Promise.all(pids.map(peakOf))))]);
  return Object.fromEntries(await Promise.all(peaks)) as Record<Name, number>;
}

async function peakOf(pid: number): Promise<number> {
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) * 1_024;
}

async function emptyRegistry({ stack }: StageWithGateways): Promise<void> {
  const data = `${stack.stateDir}/pods/pod-a/buckets/pod-a/docker/registry/v2`;
  for (const part of ["blobs", "repositories"]) await rm(`${data}/${part}`, { recursive: true, force: true });
}
