/**
 * Ends a request's calls when its client leaves. We begin to listen only before the first wait, because the client cannot leave earlier, and because a
 * listener and a signal cost a twentieth of a redirect's time.
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

  /** Must be called before each wait. The signal ends the calls whose answers no client will read. */
  listen(): AbortSignal {
    return this.#begin().signal;
  }

  /** Ends the calls before the client leaves, because their answers are no longer needed. */
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
