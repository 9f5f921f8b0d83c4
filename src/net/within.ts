import { boundedText } from "../lib/read-bounded.ts";

/** From the headers to the end: Pods' lists and tokens and clients' forms are small. */
const textDeadlineMs = 10_000;

/** The promise's value, or `late` after the deadline, so that a request never hangs on what it waits for. */
export async function within<T>(promise: Promise<T>, deadlineMs: number): Promise<T | "late"> {
  const late = Promise.withResolvers<"late">();
  const timer = setTimeout(() => late.resolve("late"), deadlineMs);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** The whole body as text. Null: it is longer than `maxBytes`, comes in very small pieces, breaks off, or does not end within 10 seconds. */
export async function textWithin(body: Request | Response, maxBytes: number): Promise<string | null> {
  const whole = boundedText(body, maxBytes).catch(() => null);
  const read = await within(
    whole.then((text) => ({ text })),
    textDeadlineMs,
  );
  return read === "late" ? null : read.text;
}
