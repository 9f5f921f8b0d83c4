import type { Called } from "../http-call.ts";
import type { Checks } from "./findings.ts";

/**
 * Registries and the edge accept a token whose times are wrong by at most 60 s. If each clock is within 30 s of the edge's clock, any two clocks are
 * at most 60 s apart.
 */
const maxSkewSeconds = 30;

/** Compares the clocks of one Pod's servers with the edge's clock. Doctor's table has one row for all clocks of a Pod. */
export class Clocks {
  readonly #edgeAheadSeconds: number;
  readonly #skewSeconds = new Map<string, number>();

  constructor(edgeAheadSeconds: number) {
    this.#edgeAheadSeconds = edgeAheadSeconds;
  }

  /** Takes each answer of a server. Keeps the largest difference between the server's clock and the edge's. */
  see(server: string, { aheadSeconds }: Called): void {
    if (aheadSeconds === null) return;
    const skew = aheadSeconds - this.#edgeAheadSeconds;
    if (Math.abs(skew) >= Math.abs(this.#skewSeconds.get(server) ?? 0)) this.#skewSeconds.set(server, skew);
  }

  report(checks: Checks): void {
    if (this.#skewSeconds.size === 0) return;
    const wrong = [...this.#skewSeconds].filter(([, seconds]) => Math.abs(seconds) > maxSkewSeconds);
    const texts = wrong.map(([who, seconds]) => `${who} is ${Math.abs(seconds)} s ${seconds > 0 ? "ahead" : "behind"}`);
    if (wrong.length > 0) checks.found("clock", "clock-skew", texts.join(", "));
    else checks.ok("clock", `within ${maxSkewSeconds} s`);
  }
}
