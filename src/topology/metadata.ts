import { utf8 } from "../lib/bytes.ts";
import { parseJson } from "../lib/json.ts";

/** KV's own bound. */
const maxMetadataBytes = 1_024;

/** A value repeated in its key's metadata, so that a listing shows the records; undefined where it does not fit, or would be spelled otherwise. */
export function metadataOf(value: string): unknown {
  if (utf8(value).byteLength > maxMetadataBytes) return undefined;
  const json = parseJson(value);
  return JSON.stringify(json) === value ? json : undefined;
}
