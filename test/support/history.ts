/** The values that something had, and when. While a change is under way, the old and the new value may both be true. */
export class History<T> {
  readonly #spans: { readonly value: T; readonly fromMs: number; toMs: number }[];
  #knownMs = Number.NEGATIVE_INFINITY;

  constructor(value: T) {
    this.#spans = [{ value, fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY }];
  }

  get value(): T {
    const last = this.#spans.at(-1);
    if (last === undefined) throw new Error("a history begins with a value");
    return last.value;
  }

  async change(value: T, work: () => Promise<unknown>): Promise<void> {
    const fromMs = Date.now();
    await work();
    const last = this.#spans.at(-1);
    if (last !== undefined) last.toMs = Date.now();
    this.#spans.push({ value, fromMs, toMs: Number.POSITIVE_INFINITY });
  }

  /** Notes that the edge knows the latest value by now. For requests from now on, an answer with an earlier value is wrong. */
  known(): void {
    this.#knownMs = Date.now();
  }

  /** Returns the values that an answer may have. A value may still be used for `ageMs` after a new value has replaced it. */
  within({ askedMs, gotMs, ageMs }: Asked & { readonly ageMs: number }): readonly T[] {
    const fromMs = Math.max(askedMs - ageMs, Math.min(this.#knownMs, askedMs));
    return this.#spans.filter((span) => span.fromMs <= gotMs && span.toMs >= fromMs).map(({ value }) => value);
  }
}

export type Asked = { readonly askedMs: number; readonly gotMs: number };
