/** What has been started and must be ended, whether the start as a whole succeeds or not. */
export type Stop = () => Promise<void>;

export class Teardown {
  #stops: Stop[] = [];

  add<T extends { stop: Stop }>(started: T): T {
    this.#stops.push(() => started.stop());
    return started;
  }

  /** All at once: none of them needs another to end. */
  async run(): Promise<void> {
    await Promise.allSettled(this.#stops.splice(0).map((stop) => stop()));
  }
}
