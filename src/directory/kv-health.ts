/** A read that takes longer shows that KV is slow. A read of a hot key takes a tenth of this, and one of a cold key mostly less than it. */
export const patienceMs = 250;
/** KV counts as slow until what it answered slowly expires and is read again. */
const slowForMs = 30_000;
/** While KV fails, one read in this time finds out whether it is back. */
const pauseMs = 1_000;
/** After so many failures in a row a write is no longer worth a read of its own. */
const lastingRow = 3;

type ReadEnd = {
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** Null: KV answered. */
  readonly failure: string | null;
  /** This isolate had read all of the keys before. A first read may be slow because KV has the key only far away, so it says little. */
  readonly isRepeated: boolean;
};

/**
 * How KV has answered the last reads of this isolate, so that its requests do not each wait to find out. The read that began last decides, because one that
 * began before KV came back may fail long after.
 */
export class KvHealth {
  #failure: string | null = null;
  #failuresInARow = 0;
  #slowUntilMs = 0;
  #newestMs = 0;
  #nextReadAtMs = 0;

  /** Why the last read failed; null if KV answered it. */
  get failure(): string | null {
    return this.#failure;
  }

  isSlow(nowMs: number): boolean {
    return nowMs < this.#slowUntilMs;
  }

  /** Takes one of the few reads that are made while KV fails. Otherwise a read may always be made. `isWanted`: nothing but KV's answer is of use. */
  takeRead(nowMs: number, isWanted: boolean): boolean {
    if (this.#failure === null || (isWanted && this.#failuresInARow < lastingRow)) return true;
    if (nowMs < this.#nextReadAtMs) return false;
    this.#nextReadAtMs = nowMs + pauseMs;
    return true;
  }

  /** A read that began at `startedAtMs` has not ended within {@link patienceMs}. */
  noteSlow(startedAtMs: number, nowMs: number): void {
    if (startedAtMs >= this.#newestMs) this.#slowUntilMs = nowMs + slowForMs;
  }

  noteEnd({ startedAtMs, endedAtMs, failure, isRepeated }: ReadEnd): void {
    if (startedAtMs < this.#newestMs) return;
    this.#newestMs = startedAtMs;
    this.#failure = failure;
    this.#failuresInARow = failure === null ? 0 : this.#failuresInARow + 1;
    this.#nextReadAtMs = endedAtMs + pauseMs;
    if (endedAtMs - startedAtMs <= patienceMs) this.#slowUntilMs = 0;
    else if (isRepeated || failure !== null) this.#slowUntilMs = endedAtMs + slowForMs;
  }
}
