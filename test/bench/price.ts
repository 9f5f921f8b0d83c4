/** The list price of a million requests at Cloudflare, from the KV keys, the CPU time and the log lines of a mix of pulls. */
import { unstable_readConfig } from "wrangler";
import { amount, type Finding } from "./finding.ts";
import { keysPerRequest, pushImages } from "./kv-reads.ts";
import { cpuUs } from "./process.ts";
import { pull, requestsOfPull } from "./pull.ts";
import { startBenchStack, withTeardown } from "./stage.ts";

/** US$ of the Workers Paid plan as listed in November 2026 ("Workers > Platform > Pricing", "KV > Platform > Pricing"). */
const perMillion = { requests: 0.3, kvKeys: 0.5, logLines: 0.6, cpuMs: 0.02 } as const;
const maxPerMillion = 0.45;
const secondsOfMonth = 30 * 24 * 3_600;
const rates = [100, 1_000, 5_000] as const;

const priceOfMillion = "list price of a million requests, US$";
const linesPerRequest = "log lines per request of a mix of pulls";
const cpuPerRequest = "CPU time per request of a mix of pulls, ms";

const images = 5;
const warmUpPulls = 100;
const pulls = 100;

export const benchPrice = async (soFar: readonly Finding[]): Promise<readonly Finding[]> => {
  const kvKeys = soFar.find(({ name }) => name === keysPerRequest)?.value;
  if (kvKeys === undefined) throw new Error("the price needs the figures of kv-reads: measure both in one run");
  const { cpuMs, logLines } = await measureMix();
  const { requests, ...other } = perMillion;
  const total = requests + kvKeys * other.kvKeys + logLines * other.logLines + cpuMs * other.cpuMs;
  return [
    amount(priceOfMillion, total, maxPerMillion),
    amount(linesPerRequest, logLines),
    amount(cpuPerRequest, cpuMs),
    ...rates.map(
      (rate): Finding => ({
        name: "list price of a month, US$, by requests a second",
        size: rate,
        value: (total * rate * secondsOfMonth) / 1e6,
        bound: null,
      }),
    ),
  ];
};

/** Measures pulls with a fresh token each, by an edge that logs as `[env.production]` says. The figures are per request. */
const measureMix = (): Promise<{ readonly cpuMs: number; readonly logLines: number }> =>
  withTeardown(async (teardown, dir) => {
    const { logSample, linesOfPlatform, headSamplingRate } = logSettings();
    const stack = await startBenchStack(teardown, dir, { env: { LOG_SAMPLE: logSample } });
    const pushed = await pushImages(stack, images);
    const pullMany = async (count: number) => {
      for (let index = 0; index < count; index += 1)
        await pull(pushed[index % images] ?? { origin: "", repository: "" });
    };
    await pullMany(warmUpPulls);
    await stack.edgeSettled();
    stack.clearSeen();
    const before = await cpuUs(stack.workerdPid());
    await pullMany(pulls);
    const us = (await cpuUs(stack.workerdPid())) - before;
    await stack.edgeSettled();
    const requests = pulls * requestsOfPull;
    const ownLines = stack.edgeLines().length / requests;
    return { cpuMs: us / 1_000 / requests, logLines: (ownLines + linesOfPlatform) * headSamplingRate };
  });

/** The platform adds a log line of its own for each request, unless `invocation_logs` is false. */
function logSettings() {
  const { observability, vars } = unstable_readConfig({ config: "wrangler.toml", env: "production" });
  const headSamplingRate = observability.logs?.head_sampling_rate ?? observability.head_sampling_rate ?? 1;
  const linesOfPlatform = (observability.logs?.invocation_logs ?? true) ? 1 : 0;
  return { logSample: String(vars["LOG_SAMPLE"] ?? 1), linesOfPlatform, headSamplingRate };
}

export function priceLine(findings: readonly Finding[]): string {
  const text = (name: string) => (findings.find((finding) => finding.name === name)?.value ?? Number.NaN).toFixed(3);
  const { requests, kvKeys, logLines, cpuMs } = perMillion;
  return [
    `A million requests: ${requests} for themselves`,
    `${text(keysPerRequest)} × ${kvKeys} for KV keys`,
    `${text(linesPerRequest)} × ${logLines} for log lines`,
    `${text(cpuPerRequest)} × ${cpuMs} for CPU time = US$ ${text(priceOfMillion)}.`,
  ].join(" + ");
}
