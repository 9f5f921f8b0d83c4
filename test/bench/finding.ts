/** One measured figure. Its name says what it counts and in which unit. */
export type Finding = {
  readonly name: string;
  /**
   * Some figures are measured several times, with different numbers of Pods, assignments or requests (the finding's name says which). `size` is this
   * number. Null for all other figures.
   */
  readonly size: number | null;
  readonly value: number;
  /** The promised upper limit of the value; null if none is promised. */
  readonly bound: number | null;
  /** True for ratios and counts, which mean the same on every machine. Only these are compared with the stored figures. */
  readonly portable?: true;
};

/** Makes the finding of a ratio or a count, which means the same on every machine. */
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

export const ratiosFirst = (findings: readonly Finding[]): readonly Finding[] => [
  ...findings.filter(({ portable }) => portable === true),
  ...findings.filter(({ portable }) => portable !== true),
];
