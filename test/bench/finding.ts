/** One measured figure. Its `name` says what it counts and in which unit. */
export type Finding = {
  readonly name: string;
  /** The number of Pods, assignments or requests with which this figure was measured. Null if it was measured with one number only. */
  readonly size: number | null;
  readonly value: number;
  /** The promised upper limit of the value; null if none is promised. */
  readonly bound: number | null;
  /** True for ratios and counts, which mean the same on every machine. Only these are compared with the stored figures. */
  readonly portable?: true;
};

export const portable = (name: string, value: number, bound: number | null = null): Finding => ({
  name,
  size: null,
  value,
  bound,
  portable: true,
});

export const amount = (name: string, value: number, bound: number | null = null): Finding => ({
  name,
  size: null,
  value,
  bound,
});

export const ratiosFirst = (findings: readonly Finding[]): readonly Finding[] => [
  ...findings.filter(({ portable }) => portable === true),
  ...findings.filter(({ portable }) => portable !== true),
];
