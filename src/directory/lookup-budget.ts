/** An isolate's own need, a rotated key or a Pod just added, is a handful; what strangers make up has no end. */
const maxLookups = 50;
const windowMs = 10_000;

/** How many KV reads strangers may cause in a window of time; one isolate's, shared by its requests. */
export class LookupBudget {
  #windowEndsAtMs = 0;
  #taken = 0;

  /** False when the window's share is spent. */
  take(nowMs: number): boolean {
    if (nowMs >= this.#windowEndsAtMs) {
      this.#windowEndsAtMs = nowMs + windowMs;
      this.#taken = 0;
    }
    this.#taken += 1;
    return this.#taken <= maxLookups;
  }
}
