import { inOneLine } from "../output.ts";

/** One step that `podctl explain` prints, such as `look-ups` with one line for each key. */
export type Step = { readonly step: string; readonly result: string; readonly lines?: readonly string[] };

/** Returns no step if there is nothing to say. */
export const optionalStep = (step: string, result: string | null): readonly Step[] =>
  result === null ? [] : [{ step, result }];

export const formatSteps = (steps: readonly Step[]): string => {
  const width = Math.max(...steps.map(({ step }) => step.length));
  return steps
    .flatMap(({ step, result, lines = [] }) => [
      `${step.padEnd(width)}  ${inOneLine(result)}`,
      ...lines.map((line) => `${" ".repeat(width)}    ${inOneLine(line)}`),
    ])
    .join("\n");
};
