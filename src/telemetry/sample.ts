import { budgetSpent } from "../refusal.ts";
import type { Outcome } from "./log-line.ts";

export type Sampling = {
  /** The share of the requests without a fault that get a line, from 0 to 1. */
  readonly rate: () => number;
  /** A new number for each request, from 0 up to but not including 1. */
  readonly random: () => number;
};

type Answered = { readonly status: number; readonly outcome: Outcome; readonly cause?: string | undefined };

/** Returns the share of such requests that get a log line, or null if this one gets none. A request with a fault always gets one. */
export function drawSample(answered: Answered, { rate, random }: Sampling): number | null {
  if (isFault(answered)) return 1;
  const ordinary = rate();
  return ordinary === 1 || random() < ordinary ? ordinary : null;
}

/** The operator must see these outcomes even if the status is below 500. A block answers 403, and the body of a 200 may break off (`broken`). */
const faults: readonly Outcome[] = ["blocked", "broken", "failed", "unavailable"];

/**
 * Whether an answer shows that something is wrong. The 401 before every pull and the 404 before every push are ordinary. A refusal is ordinary too,
 * because strangers could fill the log with refusals. A failure is also ordinary if strangers have spent the budget for look-ups (`budgetSpent`).
 */
const isFault = ({ status, outcome, cause }: Answered): boolean =>
  cause !== budgetSpent && (status >= 500 || faults.includes(outcome));
