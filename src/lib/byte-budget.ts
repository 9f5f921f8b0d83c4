type Limits = {
  readonly maxBytes: number;
  /** How many bytes one owner may hold at most, so that some are left for other owners. */
  readonly maxBytesOfOwner: number;
  /** After this time, taken bytes no longer count. The platform may end a request before the request gives its bytes back. */
  readonly lifeMs: number;
};

type Taken = { readonly owner: string; readonly bytes: number; readonly endsAtMs: number };

export class ByteBudget {
  readonly #limits: Limits;
  /** The entries are in the order of `endsAtMs`, because `lifeMs` is the same for all. */
  readonly #taken = new Set<Taken>();
  readonly #bytesOf = new Map<string, number>();
  #bytes = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /**
   * Counts the bytes as held, and returns a function that gives them back. Null if all owners together would then hold more than `maxBytes`, or this
   * owner more than `maxBytesOfOwner`.
   */
  take(bytes: number, owner: string, nowMs: number): (() => void) | null {
    const { maxBytes, maxBytesOfOwner, lifeMs } = this.#limits;
    for (const taken of this.#taken) {
      if (taken.endsAtMs > nowMs) break;
      this.#give(taken);
    }
    const ofOwner = (this.#bytesOf.get(owner) ?? 0) + bytes;
    if (this.#bytes + bytes > maxBytes || ofOwner > maxBytesOfOwner) return null;
    const taken = { owner, bytes, endsAtMs: nowMs + lifeMs };
    this.#taken.add(taken);
    this.#bytes += bytes;
    this.#bytesOf.set(owner, ofOwner);
    return () => this.#give(taken);
  }

  #give(taken: Taken): void {
    if (!this.#taken.delete(taken)) return;
    const { owner, bytes } = taken;
    this.#bytes -= bytes;
    const left = (this.#bytesOf.get(owner) ?? 0) - bytes;
    if (left > 0) this.#bytesOf.set(owner, left);
    else this.#bytesOf.delete(owner);
  }
}
