import { inOneLine } from "../output.ts";

/** One step that `podctl explain` prints, such as `look-ups` with one line for each key. */
export type Step = { readonly step: string; readonly result: string; readonly lines?: readonly string[] };

export const formatSteps = (steps: readonly Step[]): string => {
  const width = Math.max(...steps.map(({ step }) => step.length));
  return steps
    .flatMap(({ step, result, lines = [] }) => [
      `${step.padEnd(width)}  ${inOneLine(result)}`,
      ...lines.map((line) => `${" ".repeat(width)}    ${inOneLine(line)}`),
    ])
    .join("\n");
};
