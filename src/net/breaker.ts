import { BoundedMap } from "../lib/collections.ts";

const mostFailuresInARow = 3;
/**
 * The longer a service has been down, the longer we wait before the next probe (4 s after a minute). So we soon notice that a service is back, and a
 * service that is down for hours gets few probes.
 */
const pauseShare = 1 / 15;
const leastPauseMs = 1_000;
const mostPauseMs = 15_000;
/**
 * If no request has come for this long after a probe was due, the outage is forgotten. Otherwise, while the first of several new requests pings the
 * service, the others would be refused, or get an old tag, for an outage that may have been over for hours.
 */
const forgottenAfterMs = 5 * 60_000;
/** Enough for the registry, the token service and the gateway of 500 Pods, which is how many a directory may list. */
const maxServices = 1_500;

type State = {
  failuresInARow: number;
  /** When the first failed call of `failuresInARow` began. */
  downSinceMs: number;
  answeredAtMs: number;
  isDown: boolean;
  nextPingAtMs: number;
  why: string;
};

/** `probe`: the service counts as down, and this request may check whether the service is back. */
type Admission = { readonly kind: "call" } | { readonly kind: "probe" | "refused"; readonly why: string };

/**
 * Remembers which services of Pods count as down in this isolate. It holds only values, never promises, so no request waits for another request's
 * call.
 */
export class Breaker {
  readonly #states = new BoundedMap<string, State>(maxServices);

  admit(service: string, nowMs: number): Admission {
    const state = this.#states.get(service);
    if (state === undefined || !state.isDown) return { kind: "call" };
    if (nowMs >= state.nextPingAtMs + forgottenAfterMs) {
      this.#states.delete(service);
      return { kind: "call" };
    }
    const { why } = state;
    if (nowMs < state.nextPingAtMs) return { kind: "refused", why };
    // A probe may hang for long. So the next probe is due after a pause, even if this probe has not ended.
    state.nextPingAtMs = nowMs + pauseMs(state, nowMs);
    return { kind: "probe", why };
  }

  /** Whether the service counts as down. Unlike `admit`, this lets no probe through. */
  isOpen(service: string): boolean {
    return this.#states.get(service)?.isDown === true;
  }

  answered(service: string, nowMs: number): void {
    const state = this.#stateOf(service);
    state.failuresInARow = 0;
    state.answeredAtMs = nowMs;
    // This outage is over. If a new one begins, its first ping must not wait for the pause of the old one.
    if (state.isDown) state.nextPingAtMs = nowMs;
    state.isDown = false;
  }

  /**
   * Notes that a call to the service failed, and returns whether the caller must ping the service now. Only the ping decides whether the service is
   * down, because the failed calls may all come from one client whom the service's proxy refuses.
   */
  failed(service: string, { startedAtMs, nowMs, why }: { startedAtMs: number; nowMs: number; why: string }): boolean {
    const state = this.#stateOf(service);
    if (startedAtMs < state.answeredAtMs) return false;
    state.failuresInARow += 1;
    state.why = why;
    if (state.failuresInARow === 1) state.downSinceMs = startedAtMs;
    if (state.isDown || state.failuresInARow < mostFailuresInARow || nowMs < state.nextPingAtMs) return false;
    state.nextPingAtMs = nowMs + leastPauseMs;
    return true;
  }

  /**
   * Notes that the ping after several failures has failed too, so the service is down. The failed ping is ignored if the service has answered
   * anything since the ping began.
   */
  failedPing(service: string, { startedAtMs, nowMs }: { startedAtMs: number; nowMs: number }): void {
    const state = this.#stateOf(service);
    if (startedAtMs < state.answeredAtMs) return;
    state.isDown = true;
    state.nextPingAtMs = nowMs + pauseMs(state, nowMs);
  }

  #stateOf(service: string): State {
    const known = this.#states.get(service);
    if (known !== undefined) return known;
    const state = { failuresInARow: 0, downSinceMs: 0, answeredAtMs: 0, isDown: false, nextPingAtMs: 0, why: "" };
    this.#states.set(service, state);
    return state;
  }
}

const pauseMs = ({ downSinceMs }: State, nowMs: number): number =>
  Math.min(Math.max((nowMs - downSinceMs) * pauseShare, leastPauseMs), mostPauseMs);
