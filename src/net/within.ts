import { boundedText } from "../lib/read-bounded.ts";
import { err, ok, type Result } from "../lib/result.ts";

/** A body must end within this time after its headers. Lists, tokens and forms are small, so this is enough. */
const textDeadlineMs = 10_000;

export async function within<T>(promise: Promise<T>, deadlineMs: number): Promise<T | "late"> {
  const late = Promise.withResolvers<"late">();
  const timer = setTimeout(() => late.resolve("late"), deadlineMs);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

type Unread = "too-long" | "broken" | "late";

/** Returns the whole body as text, if the body ends within 10 seconds and has at most `maxBytes`. Otherwise the rest of the body is not read. */
export async function readText(body: Request | Response, maxBytes: number): Promise<Result<string, Unread>> {
  const givenUp = new AbortController();
  const whole = boundedText(body, maxBytes, givenUp.signal).then(
    (text): Result<string, Unread> => (text === null ? err("too-long") : ok(text)),
    (): Result<string, Unread> => err("broken"),
  );
  const read = await within(whole, textDeadlineMs);
  givenUp.abort();
  return read === "late" ? err("late") : read;
}

/** Like `readText`, but returns null for every error. */
export async function textWithin(body: Request | Response, maxBytes: number): Promise<string | null> {
  const read = await readText(body, maxBytes);
  return read.ok ? read.value : null;
}
