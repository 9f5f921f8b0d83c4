import { budgetSpent } from "../refusal.ts";
import type { Outcome } from "./log-line.ts";

export type Sampling = {
  /** The share of the ordinary requests that get a line, from 0 to 1. */
  readonly rate: () => number;
  /** A new number for each request, from 0 up to but not including 1. */
  readonly random: () => number;
};

type Answered = { readonly status: number; readonly outcome: Outcome; readonly cause?: string };

/**
 * Decides whether a request gets a line. Returns the line's `sample`, or null if there is no line. Each line counts for `1 / sample` requests. Faults always
 * get a line.
 */
export function drawSample(answered: Answered, { rate, random }: Sampling): number | null {
  if (isFault(answered)) return 1;
  const ordinary = rate();
  return ordinary === 1 || random() < ordinary ? ordinary : null;
}

/** An operator must see each of these, whatever the status is: the answer's body may break off after a 200. */
const faults: readonly Outcome[] = ["blocked", "broken", "failed", "unavailable"];

/**
 * Whether an answer shows that something is wrong. The challenge that starts every pull and the 404 that comes before every push are ordinary. A
 * refusal is ordinary too, because the client gets the whole reason, and anyone can send a wrong request and fill the log. A request that fails only
 * because strangers have spent the budget for look-ups is ordinary, too.
 */
const isFault = ({ status, outcome, cause }: Answered): boolean =>
  cause !== budgetSpent && (status >= 500 || faults.includes(outcome));
