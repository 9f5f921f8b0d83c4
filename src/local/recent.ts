/** A list that keeps only its newest entries. */
export class Recent<T> {
  readonly #most: number;
  #entries: T[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  add(entry: T): void {
    this.#entries.push(entry);
    // Many entries are dropped at once, because each `shift` would move all the other entries of a long list.
    if (this.#entries.length > this.#most * 1.25) this.#entries = this.list();
  }

  list(): T[] {
    return this.#entries.slice(-this.#most);
  }

  clear(): void {
    this.#entries = [];
  }
}
