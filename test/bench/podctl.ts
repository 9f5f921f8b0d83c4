/** What podctl costs for an assignment, with a thousand of them and with a million, and the memory that a million takes. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeBenchTopology } from "./assignments.ts";
import type { Job, Measured } from "./podctl-worker.ts";
import type { Finding } from "./run.ts";

const sizes = [1_000, 10_000, 100_000, 1_000_000] as const;
const million = 1_000_000;
const repeats = 3;
/** Of a series of rounds; a round of a million is a longer one by itself. Short ones find a moment when the machine is quiet. */
const assignmentsOfSeries = 400_000;
const emptyRounds = 500;
/** The first seconds go into what the runtime compiles. */
const seriesOf = { validate: { warmUp: 15, measured: 20 }, plan: { warmUp: 3, measured: 5 } };

/** What an assignment costs is flat within a fifth, from a thousand to a million, and all take less than 1.5 GB. */
const maxRatio = 1.2;
const maxRssBytes = 1.5e9;

export async function benchPodctl(): Promise<readonly Finding[]> {
  const dir = await mkdtemp(join(tmpdir(), "registry-edge-bench-"));
  const server = fork(join(import.meta.dirname, "kv-server.ts"));
  const fill = async (assignments: number | null) => {
    server.send({ assignments });
    await once(server, "message");
  };
  try {
    const [{ baseUrl }] = (await once(server, "message")) as [{ baseUrl: string }];
    const run = async (job: Omit<Job, "baseUrl">) => {
      const worker = fork(join(import.meta.dirname, "podctl-worker.ts"), [JSON.stringify({ ...job, baseUrl })]);
      const [measured] = (await once(worker, "message")) as [Measured];
      return measured;
    };
    const files = new Map<number, string>();
    for (const size of [0, ...sizes]) files.set(size, await writeBenchTopology(dir, size));
    const findings = await benchSteps({ files, fill, run });
    await fill(null);
    const applied = await run({
      step: "apply",
      file: files.get(million) ?? "",
      rounds: 1,
      series: { warmUp: 0, measured: 1 },
    });
    const perSecond = Math.round(million / (applied.wallMs / 1_000));
    return [
      ...findings,
      { name: "podctl apply, new assignments a second", size: million, value: perSecond, bound: null },
      memoryOf("apply", applied.maxRssBytes),
    ];
  } finally {
    server.disconnect();
    await rm(dir, { recursive: true });
  }
}

type Stage = {
  readonly files: ReadonlyMap<number, string>;
  readonly fill: (assignments: number | null) => Promise<void>;
  readonly run: (job: Omit<Job, "baseUrl">) => Promise<Measured>;
};

/**
 * What each assignment adds to the CPU of a run: what the run takes, less what one of a topology without assignments takes. The
 * least of interleaved series, for neighbours only add to it.
 */
async function benchSteps({ files, fill, run }: Stage): Promise<readonly Finding[]> {
  const steps = ["validate", "plan"] as const;
  const runs = new Map<string, Measured[]>();
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    for (const size of [0, ...sizes]) {
      await fill(size);
      const rounds = size === 0 ? emptyRounds : Math.max(1, assignmentsOfSeries / size);
      for (const step of steps) {
        const measured = await run({ step, file: files.get(size) ?? "", rounds, series: seriesOf[step] });
        runs.set(`${step} ${size}`, [...(runs.get(`${step} ${size}`) ?? []), measured]);
      }
    }
  }
  return steps.flatMap((step) => findingsOf(step, (size) => runs.get(`${step} ${size}`) ?? []));
}

function findingsOf(step: string, runsOf: (size: number) => readonly Measured[]): readonly Finding[] {
  const leastUs = (size: number) => Math.min(...runsOf(size).map(({ cpuMs }) => cpuMs * 1_000));
  const costs = sizes.map((size) => ({ size, costUs: (leastUs(size) - leastUs(0)) / size }));
  const all = costs.map(({ costUs }) => costUs);
  return [
    { name: `podctl ${step}, µs of CPU without assignments`, size: 0, value: leastUs(0), bound: null },
    ...costs.map(
      ({ size, costUs }): Finding => ({
        name: `podctl ${step}, µs of CPU an assignment adds`,
        size,
        value: costUs,
        bound: null,
      }),
    ),
    {
      name: `podctl ${step}, the dearest size ÷ the cheapest`,
      size: null,
      value: Math.max(...all) / Math.min(...all),
      bound: maxRatio,
    },
    memoryOf(step, Math.max(...runsOf(million).map(({ maxRssBytes }) => maxRssBytes))),
  ];
}

const memoryOf = (step: string, bytes: number): Finding => ({
  name: `podctl ${step}, MB of memory at most`,
  size: million,
  value: Math.round(bytes / 1e6),
  bound: maxRssBytes / 1e6,
});
