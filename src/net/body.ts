import { boundedText } from "../lib/read-bounded.ts";
import { within } from "./within.ts";

/** From the headers to the end: Pods' lists and tokens and clients' forms are small. */
const textDeadlineMs = 10_000;

/** The whole body as text; null when it is longer, breaks off, or does not end in time. */
export async function textWithin(body: Request | Response, maxBytes: number): Promise<string | null> {
  const whole = boundedText(body, maxBytes).catch(() => null);
  const read = await within(
    whole.then((text) => ({ text })),
    textDeadlineMs,
  );
  return read === "late" ? null : read.text;
}
