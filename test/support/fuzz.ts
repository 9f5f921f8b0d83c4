import fc from "fast-check";

const runsFactor = Number(process.env["FUZZ"] ?? 1);

/**
 * Checks a property of the whole edge `runs` times, multiplied by the variable FUZZ if it is set. Runs never overlap, so all that a Pod sees is from
 * one run.
 */
export async function fuzz<T>(runs: number, values: fc.Arbitrary<T>, holds: (value: T) => Promise<void>) {
  await fc.assert(fc.asyncProperty(values, holds), { numRuns: runs * runsFactor });
}

export const fuzzTimeoutMs = (runs: number): number => 60_000 + runs * runsFactor * 100;

export const wordOf = (text: string): fc.Arbitrary<string> => fc.constantFrom(...text.trim().split(/[ \n]+/));
export const lineOf = (text: string): fc.Arbitrary<string> => fc.constantFrom(...text.trim().split(/\n */));

export function headerOfLine(line: string): readonly [name: string, value: string] {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}
