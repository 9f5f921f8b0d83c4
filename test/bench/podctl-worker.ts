/** Runs one size of one step again and again in a process of its own, and tells what a round cost. */
import { applyPlan, checkApplied } from "../../src/cli/apply-plan.ts";
import { openKvStore } from "../../src/cli/kv-store.ts";
import { isEmpty, makePlan } from "../../src/cli/make-plan.ts";
import type { Topology } from "../../src/directory/topology.ts";
import { loadTopology } from "../../src/topology/load.ts";
import { account, apiToken, namespace } from "../support/cloudflare-kv.ts";
import { production } from "../support/topologies.ts";

/** Of one round, but for the memory, which is the process's highest. */
export type Measured = { readonly cpuMs: number; readonly wallMs: number; readonly maxRssBytes: number };
export type Job = {
  readonly step: "validate" | "plan" | "apply";
  readonly file: string;
  readonly baseUrl: string;
  readonly rounds: number;
  readonly warmUpRounds: number;
};

const { step, file, baseUrl, rounds, warmUpRounds } = JSON.parse(process.argv[2] ?? "") as Job;
const kv = openKvStore({ baseUrl, token: apiToken, account, namespace });

async function load(path: string): Promise<Topology> {
  const topology = await loadTopology(path, { ...production, placeholders: null });
  if (!topology.ok) throw new Error(topology.error[0]?.text);
  return topology.value;
}

async function round(): Promise<void> {
  const topology = await load(file);
  if (step === "validate") return;
  const plan = await makePlan(kv, topology);
  if (step === "plan" && !isEmpty(plan)) throw new Error("the plan has changes");
  if (step === "plan") return;
  await applyPlan(kv, plan);
  await checkApplied(kv, topology, plan);
}

for (let warmUp = 0; warmUp < warmUpRounds; warmUp += 1) await round();
const startedMs = performance.now();
const started = process.cpuUsage();
for (let count = 0; count < rounds; count += 1) await round();
const { user, system } = process.cpuUsage(started);
const measured: Measured = {
  cpuMs: (user + system) / 1_000 / rounds,
  wallMs: (performance.now() - startedMs) / rounds,
  maxRssBytes: process.resourceUsage().maxRSS * 1_024,
};
process.send?.(measured);
process.disconnect();
