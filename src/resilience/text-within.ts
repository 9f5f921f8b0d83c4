import { boundedText } from "../lib/bounded-text.ts";
import { within } from "./within.ts";

/** From an answer's headers to its end: Pods' lists and tokens are small, and their clients wait. */
const textDeadlineMs = 10_000;

/** A Pod's whole answer as text; null when it is longer, breaks off, or does not end in time. */
export async function textWithin(response: Response, maxBytes: number): Promise<string | null> {
  const whole = boundedText(response, maxBytes).catch(() => null);
  const read = await within(
    whole.then((text) => ({ text })),
    textDeadlineMs,
  );
  return read === "late" ? null : read.text;
}
