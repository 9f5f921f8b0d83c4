/** One measured figure. Its name says what it counts and in which unit. */
export type Finding = {
  readonly name: string;
  /** How many of what the name says it was measured with, where that varies. */
  readonly size: number | null;
  readonly value: number;
  /** What it must not exceed; null where none is promised. */
  readonly bound: number | null;
  /** Ratios and counts mean the same on every machine, so the short form compares them with the stored ones. Times and bytes do not. */
  readonly portable?: true;
};

/** A ratio or a count. */
export const portable = (name: string, value: number, bound: number | null = null): Finding => ({
  name,
  size: null,
  value,
  bound,
  portable: true,
});

/** A time, a size or an amount of money. */
export const amount = (name: string, value: number, bound: number | null = null): Finding => ({
  name,
  size: null,
  value,
  bound,
});

/** What can be compared with another machine comes first. */
export const ratiosFirst = (findings: readonly Finding[]): readonly Finding[] => [
  ...findings.filter(({ portable }) => portable === true),
  ...findings.filter(({ portable }) => portable !== true),
];
