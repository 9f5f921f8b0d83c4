import { BoundedMap } from "../lib/collections.ts";
import { isShared } from "./keys.ts";
import type { Entry } from "./kv-cache.ts";
import type { PodId } from "./pod-id.ts";

type Bounds = { readonly maxFound: number; readonly maxMissing: number };
type Missing = Map<string, Entry>;

/**
 * The entries that users depend on while KV fails. Keys without a value in KV have a limit of their own, because anyone can ask for names that do not
 * exist.
 */
export class KeptEntries {
  readonly #found: BoundedMap<string, Entry>;
  readonly #maxMissing: number;
  readonly #missingOf = new Map<PodId | null, Missing>();
  /** For each key without a value, the map in `#missingOf` that has the key. */
  readonly #homes = new Map<string, Missing>();

  constructor({ maxFound, maxMissing }: Bounds) {
    this.#found = new BoundedMap(maxFound);
    this.#maxMissing = maxMissing;
  }

  get(key: string): Entry | undefined {
    return this.#found.get(key) ?? this.#homes.get(key)?.get(key);
  }

  /**
   * `owner` is the Pod to which the looked-up name belongs, if that Pod issued the request's token, otherwise null. A key without a value stays in
   * the map of its first owner.
   */
  set(key: string, entry: Entry, owner: PodId | null): void {
    if (entry.text !== null || isShared(key)) {
      this.#deleteMissing(key);
      this.#found.set(key, entry);
      return;
    }
    this.#found.delete(key);
    const home = this.#homes.get(key) ?? this.#missingOf.get(owner) ?? new Map();
    if (!this.#homes.has(key)) this.#missingOf.set(owner, home);
    this.#deleteMissing(key);
    home.set(key, entry);
    this.#homes.set(key, home);
    // The owner with the most keys loses its oldest key. So a hostile Pod, whose tokens may name anything below its prefix, displaces no key of a Pod
    // with fewer keys.
    if (this.#homes.size > this.#maxMissing) this.#dropMissing();
  }

  #deleteMissing(key: string): void {
    this.#homes.get(key)?.delete(key);
    this.#homes.delete(key);
  }

  #dropMissing(): void {
    let largest: Missing | null = null;
    for (const [owner, entries] of this.#missingOf) {
      if (entries.size === 0) this.#missingOf.delete(owner);
      else if (largest === null || entries.size > largest.size) largest = entries;
    }
    for (const key of largest?.keys() ?? []) {
      this.#deleteMissing(key);
      return;
    }
  }
}
