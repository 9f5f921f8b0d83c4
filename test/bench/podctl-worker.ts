/** Runs one size of one step again and again in a process of its own, and tells what a round cost in the cheapest of some series. */

import { openKvStore } from "../../src/podctl/target/kv-store.ts";
import { applyPlan, checkApplied } from "../../src/podctl/write/apply-plan.ts";
import { isEmpty, makePlan } from "../../src/podctl/write/make-plan.ts";
import { loadTopology } from "../../src/topology/load.ts";
import type { Topology } from "../../src/topology/topology.ts";
import { account, apiToken, namespace } from "../support/cloudflare-kv.ts";
import { production } from "../support/topologies.ts";

/** Of one round, but for the memory, which is the process's highest. */
export type Measured = { readonly cpuMs: number; readonly wallMs: number; readonly maxRssBytes: number };
export type Job = {
  readonly step: "validate" | "plan" | "apply";
  readonly file: string;
  readonly baseUrl: string;
  /** Of a series. */
  readonly rounds: number;
  /** The last ones count; those before them warm up. */
  readonly series: { readonly warmUp: number; readonly measured: number };
};

const { step, file, baseUrl, rounds, series } = JSON.parse(process.argv[2] ?? "") as Job;
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

/** Of a round. */
async function measureSeries(): Promise<{ readonly cpuMs: number; readonly wallMs: number }> {
  const startedMs = performance.now();
  const started = process.cpuUsage();
  for (let count = 0; count < rounds; count += 1) await round();
  const { user, system } = process.cpuUsage(started);
  return { cpuMs: (user + system) / 1_000 / rounds, wallMs: (performance.now() - startedMs) / rounds };
}

for (let count = 0; count < series.warmUp; count += 1) await measureSeries();
const measured = [];
for (let count = 0; count < series.measured; count += 1) measured.push(await measureSeries());
const least: Measured = {
  cpuMs: Math.min(...measured.map(({ cpuMs }) => cpuMs)),
  wallMs: Math.min(...measured.map(({ wallMs }) => wallMs)),
  maxRssBytes: process.resourceUsage().maxRSS * 1_024,
};
process.send?.(least);
process.disconnect();
