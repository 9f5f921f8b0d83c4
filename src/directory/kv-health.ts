/**
 * If a read takes longer than this, KV counts as slow. Reads of hot keys take a tenth of this time, and most reads of cold keys take less than it.
 */
export const patienceMs = 250;
/**
 * For how long KV counts as slow or failing after a read that was slow or failed. Values expire after the same time, so the same keys are then read
 * again, and that read shows how KV is now.
 */
const rememberedMs = 30_000;
/** While KV fails, one read in each span of this length tests whether KV is back. */
const pauseMs = 1_000;
/**
 * While KV fails, a request that cannot use older values, such as a push, still reads KV. After this many failures in a row, KV gets only one read in
 * each span of `pauseMs`, and all other such requests fail at once.
 */
const lastingRow = 3;

type ReadEnd = {
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly failure: string | null;
  /**
   * Whether this isolate had read all of the keys before. The first read of a key says little about KV, because it is slow if KV has the key only far
   * away.
   */
  readonly isRepeated: boolean;
};

/**
 * Remembers whether KV answered the last reads of this isolate, and how fast. Only the read that began last counts, because an earlier read may fail
 * long after KV has come back.
 */
export class KvHealth {
  #failure: string | null = null;
  #failingUntilMs = 0;
  #failuresInARow = 0;
  #slowUntilMs = 0;
  #newestMs = 0;
  #nextReadAtMs = 0;

  /** Why the last read failed. Null if KV answered it, or if it ended more than {@link rememberedMs} ago. */
  failure(nowMs: number): string | null {
    return nowMs < this.#failingUntilMs ? this.#failure : null;
  }

  isSlow(nowMs: number): boolean {
    return nowMs < this.#slowUntilMs;
  }

  /** Whether a read may be made now. `isWanted`: the request cannot use older values. */
  takeRead(nowMs: number, isWanted: boolean): boolean {
    if (this.failure(nowMs) === null || (isWanted && this.#failuresInARow < lastingRow)) return true;
    if (nowMs < this.#nextReadAtMs) return false;
    this.#nextReadAtMs = nowMs + pauseMs;
    return true;
  }

  noteSlow(startedAtMs: number, nowMs: number): void {
    if (startedAtMs >= this.#newestMs) this.#slowUntilMs = nowMs + rememberedMs;
  }

  noteEnd({ startedAtMs, endedAtMs, failure, isRepeated }: ReadEnd): void {
    if (startedAtMs < this.#newestMs) return;
    this.#newestMs = startedAtMs;
    this.#failure = failure;
    this.#failingUntilMs = endedAtMs + rememberedMs;
    this.#failuresInARow = failure === null ? 0 : this.#failuresInARow + 1;
    this.#nextReadAtMs = endedAtMs + pauseMs;
    if (endedAtMs - startedAtMs <= patienceMs) this.#slowUntilMs = 0;
    else if (isRepeated || failure !== null) this.#slowUntilMs = endedAtMs + rememberedMs;
  }
}
