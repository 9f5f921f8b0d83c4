/**
 * Ends what a request asked of others once its client has left. A request that waits for nothing is answered before its client can leave, so nothing listens
 * before the first wait: a listener and a signal cost a twentieth of a redirect's time.
 */
export class Departure {
  readonly #request: Request;
  readonly #onLeft: () => void;
  #calls: AbortController | null = null;

  /** `onLeft` is called if the client leaves before the last byte of its answer. */
  constructor(request: Request, onLeft: () => void) {
    this.#request = request;
    this.#onLeft = onLeft;
  }

  /** To be called before each wait. The signal ends what no client reads any more. */
  listen(): AbortSignal {
    return this.#begin().signal;
  }

  /** Ends the calls because their answers have no reader any more, for another reason than the client. */
  endCalls(): void {
    this.#begin().abort();
  }

  #begin(): AbortController {
    if (this.#calls !== null) return this.#calls;
    const calls = new AbortController();
    this.#calls = calls;
    this.#request.signal.addEventListener("abort", () => {
      this.#onLeft();
      calls.abort();
    });
    return calls;
  }
}
