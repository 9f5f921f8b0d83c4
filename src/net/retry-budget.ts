import { BoundedMap } from "../lib/collections.ts";

/** In the long run, retries add at most 10 % to the clients' requests to a service. */
const earnedPerRequest = 0.1;
/** A service that is seldom called can still get this many retries. */
const reserve = 10;
/** Enough for two services of every Pod in the largest possible directory. */
const maxServices = 1_000;

/**
 * Counts the retries that each service of a Pod may still get. Without this limit, a service that breaks every connection would get each client's
 * request twice.
 */
export class RetryBudget {
  readonly #left = new BoundedMap<string, number>(maxServices);

  earn(service: string): void {
    this.#left.set(service, Math.min(reserve, (this.#left.get(service) ?? reserve) + earnedPerRequest));
  }

  take(service: string): boolean {
    const left = this.#left.get(service) ?? reserve;
    if (left < 1) return false;
    this.#left.set(service, left - 1);
    return true;
  }
}
