import type { Called } from "../http-call.ts";
import type { Checks } from "./findings.ts";

/**
 * Registries and the edge allow a difference of 60 s in a token's times. If each clock is within 30 s of the edge's clock, any two clocks are within
 * these 60 s.
 */
const maxSkewSeconds = 30;

/** Compares the edge's clock with the clock of each server that answers. All clocks of a Pod together are one check. */
export class Clocks {
  readonly #edgeAheadSeconds: number;
  readonly #skewSeconds = new Map<string, number>();

  constructor(edgeAheadSeconds: number) {
    this.#edgeAheadSeconds = edgeAheadSeconds;
  }

  /** Returns a function to call with each answer of one server. Only the largest difference between the server's clock and the edge's is kept. */
  of(server: string): (called: Called) => void {
    return ({ aheadSeconds }) => {
      if (aheadSeconds === null) return;
      const skew = aheadSeconds - this.#edgeAheadSeconds;
      if (Math.abs(skew) >= Math.abs(this.#skewSeconds.get(server) ?? 0)) this.#skewSeconds.set(server, skew);
    };
  }

  report(checks: Checks): void {
    if (this.#skewSeconds.size === 0) return;
    const wrong = [...this.#skewSeconds].filter(([, seconds]) => Math.abs(seconds) > maxSkewSeconds);
    const texts = wrong.map(([who, seconds]) => `${who} is ${Math.abs(seconds)} s ${seconds > 0 ? "ahead" : "behind"}`);
    if (wrong.length > 0) checks.found("clock", "clock-skew", texts.join(", "));
    else checks.ok("clock", `within ${maxSkewSeconds} s`);
  }
}
