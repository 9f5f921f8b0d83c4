/** The promise's value, or `late`: whatever is waited for, a request does not hang on it. */
export async function within<T>(promise: Promise<T>, deadlineMs: number): Promise<T | "late"> {
  const late = Promise.withResolvers<"late">();
  const timer = setTimeout(() => late.resolve("late"), deadlineMs);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
