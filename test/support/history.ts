/** What was true, and when. Between a change's request and its answer both values may be true. */
export class History<T> {
  readonly #spans: { readonly value: T; readonly fromMs: number; toMs: number }[];
  #knownMs = Number.NEGATIVE_INFINITY;

  constructor(value: T) {
    this.#spans = [{ value, fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY }];
  }

  /** The value of now. */
  get value(): T {
    const last = this.#spans.at(-1);
    if (last === undefined) throw new Error("a history begins with a value");
    return last.value;
  }

  /** Does the work that changes the value. */
  async change(value: T, work: () => Promise<unknown>): Promise<void> {
    const fromMs = Date.now();
    await work();
    const last = this.#spans.at(-1);
    if (last !== undefined) last.toMs = Date.now();
    this.#spans.push({ value, fromMs, toMs: Number.POSITIVE_INFINITY });
  }

  /** The edge knows the value of now, so that no earlier one is right from now on. */
  known(): void {
    this.#knownMs = Date.now();
  }

  /** The values with which an answer is right that was asked for and got between these times, and may be this old. */
  within({ askedMs, gotMs, ageMs }: Asked & { readonly ageMs: number }): readonly T[] {
    const fromMs = Math.max(askedMs - ageMs, Math.min(this.#knownMs, askedMs));
    return this.#spans.filter((span) => span.fromMs <= gotMs && span.toMs >= fromMs).map(({ value }) => value);
  }
}

/** When a request was sent, and when its answer had come. */
export type Asked = { readonly askedMs: number; readonly gotMs: number };
