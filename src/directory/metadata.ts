import { utf8 } from "../lib/bytes.ts";

/** KV's own bound. */
const maxMetadataBytes = 1_024;

/** A value repeated in its key's metadata, so that a listing shows the records; undefined where it does not fit. */
export function metadataOf(value: string): unknown {
  if (utf8(value).byteLength > maxMetadataBytes) return undefined;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}
