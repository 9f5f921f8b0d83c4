/**
 * Measures requests that anyone can send and that look dear: their CPU time in workerd and their KV keys. A busy machine makes every request dearer,
 * so we compare the CPU time with that of a plain 401 in the same minute.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { decodeProtectedHeader } from "jose";
import type { Stack } from "../../src/local/stack.ts";
import { bundleWorker } from "../../src/local/workerd/bundle-worker.ts";
import { createClient } from "../support/client.ts";
import { costlyRequests, type Known } from "../support/costly-requests.ts";
import { type HostileRequest, rawRequest } from "../support/hostile-requests.ts";
import { exchangeRaw } from "../support/raw-exchange.ts";
import { readStackKv } from "../support/toy-stack.ts";
import { amount, type Finding, portable } from "./finding.ts";
import { cpuUs } from "./process.ts";
import { type BenchWorker, startBenchStack, startBenchWorker, withTeardown } from "./stage.ts";

/** `maxCpuMs` is the limit for a request of up to 16 KB, and `maxKeys`, one bulk read of KV, for any request. */
const maxCpuMs = 5;
const maxKeys = 100;
/** A request with a URL, a header or a token of 16 KB, and little else, counts as small. */
const smallCharacters = 20_000;
const fewKeys = 10;
const budgetWindowMs = 10_000;
const shown = 10;
/**
 * If a request seems too dear, it is measured in more rounds, up to this many times the usual number. V8 may not yet have compiled the Worker's code
 * for this request, or other processes may have slowed every round.
 */
const patience = 4;

/**
 * Replaces the local cache by one that keeps nothing, because the local cache would cost CPU time in workerd. A real cache would have nothing for
 * strangers either, because the edge keeps nothing that they ask for.
 */
const emptyCache = "const caches = { open: async () => ({ match: async () => undefined, put: async () => {} }) };\n";

const repository = "acme/private";
const plain: HostileRequest = {
  ...{ method: "GET", target: `/v2/${repository}/manifests/1`, headers: [["Host", "edge.test"]] },
  ...{ body: "", framing: "none" },
};

/** `fleets` are numbers of Pods. A figure is the smallest of all rounds, because other processes can only make a round dearer. */
type Options = { readonly fleets: readonly number[]; readonly rounds: number; readonly count: number };

export const benchStrangers = ({ fleets, ...rounds }: Options): Promise<readonly Finding[]> =>
  withTeardown(async (teardown, dir) => {
    const stack = await startBenchStack(teardown, dir, { script: emptyCache + (await bundleWorker()) });
    const reader = await startBenchWorker(teardown, dir, { file: "kv-worker.ts" });
    const findings: Finding[] = [];
    for (const size of fleets) findings.push(...(await benchFleet({ stack, reader }, size, rounds)));
    return findings;
  });

type Rounds = Omit<Options, "fleets">;
type Stage = { readonly stack: Stack; readonly reader: BenchWorker };
type Cost = {
  readonly request: string;
  readonly statuses: string;
  readonly cpuMs: number;
  readonly withLocalKvMs: number;
  readonly ratio: number;
  readonly keys: number;
  readonly isSmall: boolean;
};

async function benchFleet(stage: Stage, size: number, rounds: Rounds): Promise<readonly Finding[]> {
  const known = await makeFleet(stage.stack, size);
  const costs: Cost[] = [];
  for (const [index, [what]] of costlyRequests(known).entries()) {
    const request = () => costlyRequests(known)[index]?.[1] ?? plain;
    const cost = { request: what, ...(await measure(stage, request, rounds)) };
    costs.push(cost);
    // If these requests have used up the strangers' shared budget of KV keys, the edge refuses the next ones, which then seem cheap.
    if (cost.keys > fewKeys) await sleep(budgetWindowMs);
  }
  const dearestFirst = costs.toSorted((one, other) => other.cpuMs - one.cpuMs);
  console.log(`The dearest of ${costs.length} requests with ${size} Pods:`);
  console.table(dearestFirst.slice(0, shown));
  const most = (of: (cost: Cost) => number, among = costs) => Math.max(...among.map(of));
  const small = costs.filter(({ isSmall }) => isSmall);
  const large = costs.filter(({ isSmall }) => !isSmall);
  const findings = [
    amount("dearest request of a stranger of up to 16 KB, ms of CPU", most(cpuOf, small), maxCpuMs),
    amount(
      "dearest request of a stranger of up to 16 KB ÷ 401 challenge",
      most(({ ratio }) => ratio, small),
    ),
    amount("dearest request of a stranger of up to 64 KB, ms of CPU", most(cpuOf, large)),
    portable(
      "most KV keys of a request of a stranger",
      most(({ keys }) => keys),
      maxKeys,
    ),
  ];
  return findings.map((finding) => ({ ...finding, size }));
}

const cpuOf = ({ cpuMs }: Cost): number => cpuMs;

/**
 * Fills the directory up to `size` Pods with copies of Pod A. All copies have Pod A's key. So if a stranger forges a token with parts for several
 * copies, the edge must verify each part.
 */
async function makeFleet(stack: Stack, size: number): Promise<Known> {
  const pods = ["pod-a", "pod-b", ...Array.from({ length: size - 2 }, (_, index) => `pod-${index}`)];
  const record = (await readStackKv(stack, ["pod/pod-a"])).get("pod/pod-a") ?? "";
  for (const pod of pods.slice(2)) await stack.putKv(`pod/${pod}`, record);
  await stack.putKv(
    "directory",
    JSON.stringify({ v: 1, revision: size, pods, default: "pod-a", credentials: "shared" }),
  );
  await stack.restartEdge();
  const token = await createClient(stack.edge).token([`repository:${repository}:pull`]);
  const kid = decodeProtectedHeader(token.replace(/^pods\.v1\.[^/]*\//, "")).kid ?? "";
  let made = 0;
  const unused = () => {
    made += 1;
    return `${size}y${made}`;
  };
  return { kid, pods, repository, unused };
}

async function measure(
  { stack, reader }: Stage,
  request: () => HostileRequest,
  { rounds, count }: Rounds,
): Promise<Omit<Cost, "request">> {
  const edge = { origin: stack.edge, pid: stack.workerdPid(), settled: () => stack.edgeSettled() };
  const ofKv = { origin: reader.url, pid: reader.pid, settled: async () => {} };
  const plainMs: number[] = [];
  const withLocalKvMs: number[] = [];
  const kvMs: number[] = [];
  const statuses = new Set<number>();
  let keys = 0;
  // KV runs inside workerd here, but elsewhere in a deployment, so we subtract KV's CPU time.
  const costMs = () => Math.min(...withLocalKvMs) - Math.min(...kvMs);
  for (let round = 0; round < rounds || (round < rounds * patience && costMs() > maxCpuMs); round += 1) {
    if (round >= rounds && keys > fewKeys) await sleep(budgetWindowMs);
    plainMs.push(await cpuMsOfRound(edge, () => plain, count));
    stack.clearSeen();
    withLocalKvMs.push(await cpuMsOfRound(edge, request, count));
    let keysOfRound = 0;
    for (const line of stack.edgeSeen()) {
      keys = Math.max(keys, line.kvKeys);
      keysOfRound += line.kvKeys;
      statuses.add(line.status);
    }
    const perRequest = Math.round(keysOfRound / count);
    const read = perRequest === 0 ? 0 : await cpuMsOfRound(ofKv, () => readOf(perRequest), count);
    kvMs.push(read === 0 ? 0 : read - (await cpuMsOfRound(ofKv, () => readOf(0), count)));
  }
  const least = costMs();
  return {
    statuses: [...statuses].join(),
    cpuMs: Number(least.toFixed(2)),
    withLocalKvMs: Number(Math.min(...withLocalKvMs).toFixed(2)),
    ratio: Number((least / Math.min(...plainMs)).toFixed(1)),
    keys,
    isSmall: rawRequest(request()).text.length < smallCharacters,
  };
}

const readOf = (keys: number): HostileRequest => ({ ...plain, target: `/${keys}` });

type Measured = { readonly origin: string; readonly pid: number; readonly settled: () => Promise<void> };

async function cpuMsOfRound(
  { origin, pid, settled }: Measured,
  request: () => HostileRequest,
  count: number,
): Promise<number> {
  const raw = Array.from({ length: count }, () => rawRequest(request()));
  await settled();
  const beforeUs = await cpuUs(pid);
  for (const each of raw) await exchangeRaw(origin, each);
  await settled();
  return ((await cpuUs(pid)) - beforeUs) / count / 1_000;
}
