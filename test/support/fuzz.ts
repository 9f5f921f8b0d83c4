import fc from "fast-check";

const runsFactor = Number(process.env["FUZZ"] ?? 1);

/**
 * A property over the whole edge, `runs` times; the variable FUZZ multiplies that. One run at a time: what a Pod saw is then of this
 * run's request. A failure names the seed and the smallest value that still fails.
 */
export async function fuzz<T>(runs: number, values: fc.Arbitrary<T>, holds: (value: T) => Promise<void>) {
  await fc.assert(fc.asyncProperty(values, holds), { numRuns: runs * runsFactor });
}

/** For a test of so many runs. No bound on the edge: that is `exchangeRaw`'s. */
export const fuzzTimeoutMs = (runs: number): number => 60_000 + runs * runsFactor * 100;

/** One of the words, or lines, of a text. */
export const wordOf = (text: string): fc.Arbitrary<string> => fc.constantFrom(...text.trim().split(/[ \n]+/));
export const lineOf = (text: string): fc.Arbitrary<string> => fc.constantFrom(...text.trim().split(/\n */));

/** As `Name: value`. */
export function headerOfLine(line: string): readonly [name: string, value: string] {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}
