/** bench/results.json: the last figures, the machine, and its versions of Node and workerd. CI compares its own figures with the stored ones. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { cpus, loadavg } from "node:os";
import type { Finding } from "./finding.ts";

const file = "bench/results.json";

export type Machine = {
  readonly cpus: number;
  readonly model: string;
  readonly node: string;
  readonly workerd: string;
  /** How many processes wanted a CPU, on average over the last minute. */
  readonly load: number;
};

export type Results = {
  readonly at: string;
  /** The machine, with its load before the first measurement. */
  readonly machine: Machine;
  readonly loadAfter: number;
  readonly findings: readonly Finding[];
};

export function machineNow(): Machine {
  const [first] = cpus();
  const { version } = createRequire(import.meta.url)("workerd/package.json") as { version: string };
  const [load = 0] = loadavg();
  return {
    cpus: cpus().length,
    model: first?.model ?? "unknown",
    node: process.versions.node,
    workerd: version,
    load: Number(load.toFixed(2)),
  };
}

/** Empty before the first whole run. */
export async function readFindings(): Promise<readonly Finding[]> {
  const text = await readFile(file, "utf8").catch(() => null);
  return text === null ? [] : (JSON.parse(text) as Results).findings;
}

export async function writeResults(results: Results): Promise<void> {
  await mkdir("bench", { recursive: true });
  await writeFile(file, `${JSON.stringify(results, null, 2)}\n`);
}

/** A figure may be this many times the stored one, because no two runs are equal. All figures are better when they are smaller. */
const tolerance = 1.25;
/** Added to what `tolerance` allows. A count per request may be so near zero that one more read makes it several times as large. */
const slack = 0.01;

export const findWorse = (measured: readonly Finding[], stored: readonly Finding[]): readonly string[] =>
  measured.flatMap(({ name, value, portable }) => {
    const known = stored.find((finding) => finding.name === name)?.value;
    if (portable === undefined || known === undefined || value <= known * tolerance + slack) return [];
    return [`"${name}" is ${value.toFixed(2)}, and ${known.toFixed(2)} is stored: more than 25 % worse.`];
  });
