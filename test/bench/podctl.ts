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
const repeats = 2;
/** Rounds of every size but the largest together read about as many assignments. */
const assignmentsOfRounds = 200_000;

/** An assignment among a million costs at most a fifth more than among fewer, and all take less than 1.5 GB. */
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
    for (const size of sizes) files.set(size, await writeBenchTopology(dir, size));
    const findings = await benchSteps({ files, fill, run });
    await fill(null);
    const applied = await run({ step: "apply", file: files.get(million) ?? "", rounds: 1, warmUpRounds: 0 });
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
 * CPU of one assignment, with its share of what a run costs at all (which shows among a thousand). The least of interleaved
 * repeats, for neighbours only add to it.
 */
async function benchSteps({ files, fill, run }: Stage): Promise<readonly Finding[]> {
  const steps = ["validate", "plan"] as const;
  const costs = new Map<string, number[]>();
  const memory = new Map<string, number>();
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    for (const size of sizes) {
      const rounds = Math.max(1, Math.round(assignmentsOfRounds / size));
      for (const step of steps) {
        const jobOf = (assignments: number) => ({
          step,
          file: files.get(assignments) ?? "",
          rounds,
          warmUpRounds: rounds,
        });
        await fill(size);
        const { cpuMs, maxRssBytes } = await run(jobOf(size));
        costs.set(`${step} ${size}`, [...(costs.get(`${step} ${size}`) ?? []), (cpuMs * 1_000) / size]);
        memory.set(step, Math.max(memory.get(step) ?? 0, maxRssBytes));
      }
    }
  }
  const least = (key: string) => Math.min(...(costs.get(key) ?? []));
  return steps.flatMap((step) => {
    const perSize = sizes.map((size) => least(`${step} ${size}`));
    return [
      ...sizes.map(
        (size, index): Finding => ({
          name: `podctl ${step}, µs of CPU an assignment`,
          size,
          value: perSize[index] ?? 0,
          bound: null,
        }),
      ),
      {
        name: `podctl ${step}, a million ÷ the cheapest size`,
        size: null,
        value: (perSize.at(-1) ?? 0) / Math.min(...perSize),
        bound: maxRatio,
      },
      memoryOf(step, memory.get(step) ?? 0),
    ];
  });
}

const memoryOf = (step: string, bytes: number): Finding => ({
  name: `podctl ${step}, MB of memory at most`,
  size: million,
  value: Math.round(bytes / 1e6),
  bound: maxRssBytes / 1e6,
});
