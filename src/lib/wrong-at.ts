/** The part of valibot's issue that says what is wrong. */
type Issue = { readonly expected: string | null; readonly received: string; readonly message: string };

/** Says what is wrong at this place of a parsed value. Does not quote the value, because it may be a secret. */
export function wrongAt(place: string | null, { expected, received, message }: Issue): string {
  // The message of `v.url()`, for example, is `Invalid URL: Received "<the value>"`, and its `expected` is null.
  const [, kind = message] = /^Invalid ([^:]*)/.exec(message) ?? [];
  const wanted = `want ${expected ?? kind}`;
  if (place === null) return `is wrong: ${wanted}`;
  if (received === "undefined") return `has no "${place}"`;
  return expected === "never" ? `has an unknown member "${place}"` : `is wrong at "${place}": ${wanted}`;
}
