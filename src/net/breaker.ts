import { BoundedMap } from "../lib/collections.ts";

const mostFailuresInARow = 3;
/**
 * The pause before the next probe is this part of the time that the service has been down: 1 s at first, 4 s after a minute, never more than 15 s. So a
 * service that comes back is found within a fifteenth of its outage, and one that is down for hours gets few probes.
 */
const pauseShare = 1 / 15;
const leastPauseMs = 1_000;
const mostPauseMs = 15_000;
/** Two services of each of the most Pods that a directory can name. */
const maxServices = 1_000;

type State = {
  failuresInARow: number;
  /** When the first call of the row began. */
  downSinceMs: number;
  answeredAtMs: number;
  nextProbeAtMs: number;
  why: string;
};

/** `probe`: the service counts as down, and this request may find out whether it still is. */
export type Admission = { readonly kind: "call" } | { readonly kind: "probe" | "refused"; readonly why: string };

/** Which services of Pods count as down in this isolate: values only, so that no request waits for another's call. */
export class Breaker {
  readonly #states = new BoundedMap<string, State>(maxServices);

  admit(service: string, nowMs: number): Admission {
    const state = this.#states.get(service);
    if (state === undefined || state.failuresInARow < mostFailuresInARow) return { kind: "call" };
    const { why } = state;
    if (nowMs < state.nextProbeAtMs) return { kind: "refused", why };
    // Only time ends a probe's turn, because a probe may hang for longer than the outage lasts.
    state.nextProbeAtMs = nowMs + pauseMs(state, nowMs);
    return { kind: "probe", why };
  }

  answered(service: string, nowMs: number): void {
    const state = this.#stateOf(service);
    state.failuresInARow = 0;
    state.answeredAtMs = nowMs;
  }

  /** `why` is for the log. A call that began before the service last answered says nothing of how it is now. */
  failed(service: string, { startedAtMs, nowMs, why }: { startedAtMs: number; nowMs: number; why: string }): void {
    const state = this.#stateOf(service);
    if (startedAtMs < state.answeredAtMs) return;
    state.failuresInARow += 1;
    state.why = why;
    if (state.failuresInARow === 1) state.downSinceMs = startedAtMs;
    if (state.failuresInARow === mostFailuresInARow) state.nextProbeAtMs = nowMs + pauseMs(state, nowMs);
  }

  #stateOf(service: string): State {
    const known = this.#states.get(service);
    if (known !== undefined) return known;
    const state = { failuresInARow: 0, downSinceMs: 0, answeredAtMs: 0, nextProbeAtMs: 0, why: "" };
    this.#states.set(service, state);
    return state;
  }
}

const pauseMs = ({ downSinceMs }: State, nowMs: number): number =>
  Math.min(Math.max((nowMs - downSinceMs) * pauseShare, leastPauseMs), mostPauseMs);
