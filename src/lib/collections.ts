type Weight<V> = { readonly maxBytes: number; readonly bytesOf: (value: V) => number };

/**
 * A Map of at most `maxEntries` entries. With a weight, the values are at most `maxBytes` long in all, as `bytesOf` counts them. If an entry is set
 * beyond these bounds, the entries that were set first are dropped (a Map iterates in the order of insertion).
 */
export class BoundedMap<K, V> {
  readonly #entries = new Map<K, V>();
  readonly #maxEntries: number;
  readonly #weight: Weight<V>;
  #bytes = 0;

  constructor(maxEntries: number, weight: Weight<V> = { maxBytes: 0, bytesOf: () => 0 }) {
    this.#maxEntries = maxEntries;
    this.#weight = weight;
  }

  get(key: K): V | undefined {
    return this.#entries.get(key);
  }

  set(key: K, value: V): void {
    this.delete(key);
    this.#entries.set(key, value);
    this.#bytes += this.#weight.bytesOf(value);
    for (const [oldest] of this.#entries) {
      if (this.#entries.size <= this.#maxEntries && this.#bytes <= this.#weight.maxBytes) return;
      this.delete(oldest);
    }
  }

  delete(key: K): void {
    const value = this.#entries.get(key);
    if (value === undefined || !this.#entries.delete(key)) return;
    this.#bytes -= this.#weight.bytesOf(value);
  }

  get size(): number {
    return this.#entries.size;
  }
}

export function chunksOf<T>(items: readonly T[], size: number): readonly T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  );
}
