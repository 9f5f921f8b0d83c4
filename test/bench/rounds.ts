/** Interleaved rounds: each subject has its turn in every round, so that what disturbs the machine disturbs all of them. */
import { cpuUs } from "./process.ts";

export type Subject = {
  readonly pid: number;
  readonly run: (count: number) => Promise<void>;
};

/** V8 compiles code that runs often. So a short run and a long run agree only after the same warm-up. */
export type Rounds = { readonly warmUp: number; readonly rounds: number; readonly count: number };

/** Measures, for each subject and round, the CPU time in µs that the subject's process needs to do the work once. */
export async function measureRounds<Name extends string>(
  subjects: Readonly<Record<Name, Subject>>,
  { warmUp, rounds, count }: Rounds,
): Promise<Readonly<Record<Name, readonly number[]>>> {
  const names = Object.keys(subjects) as Name[];
  const measured = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (const name of names) await subjects[name].run(warmUp);
  for (let round = 0; round < rounds; round += 1) {
    for (const name of names) measured[name].push(await costUs(subjects[name], count));
  }
  return measured;
}

async function costUs({ pid, run }: Subject, count: number): Promise<number> {
  const before = await cpuUs(pid);
  await run(count);
  return ((await cpuUs(pid)) - before) / count;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle) - 1] ?? Number.NaN)) / 2;
}

/**
 * In one round, the machine is about equally busy while a value and its base are measured. In another round, the machine may be busier. So we take
 * the ratio in each round, and then the median of the ratios.
 */
export const medianRatio = (values: readonly number[], bases: readonly number[]): number =>
  median(values.map((value, round) => value / (bases[round] ?? Number.NaN)));

export const medianDifference = (values: readonly number[], bases: readonly number[]): number =>
  median(values.map((value, round) => value - (bases[round] ?? Number.NaN)));
