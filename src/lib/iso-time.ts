import * as v from "valibot";

/** A text with a time in ISO 8601. JavaScript cannot read some forms of that standard, such as `2026-11-23T10:00:00+00`. */
export const isoTime = v.pipe(
  v.string(),
  v.isoTimestamp(),
  v.check((text) => !Number.isNaN(Date.parse(text)), "a time, as in 2026-11-23T10:00:00Z"),
);
