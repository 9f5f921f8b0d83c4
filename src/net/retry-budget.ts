import { BoundedMap } from "../lib/collections.ts";

/** In the long run there are at most 10 % more requests to a service than clients made. */
const earnedPerRequest = 0.1;
/** A service that is seldom called can still get this many retries. */
const reserve = 10;
/** Two services of each of the most Pods that a directory can name. */
const maxServices = 1_000;

/** How many retries each service of a Pod may still get. A service that breaks every connection must not get two requests for each of a client's. */
export class RetryBudget {
  readonly #left = new BoundedMap<string, number>(maxServices);

  /** A client's request goes to this service. */
  earn(service: string): void {
    this.#left.set(service, Math.min(reserve, (this.#left.get(service) ?? reserve) + earnedPerRequest));
  }

  /** False if this service has had its share. */
  take(service: string): boolean {
    const left = this.#left.get(service) ?? reserve;
    if (left < 1) return false;
    this.#left.set(service, left - 1);
    return true;
  }
}
