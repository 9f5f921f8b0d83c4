import type * as v from "valibot";
import type { BoundedMap } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { DirectoryFailure } from "../refusal.ts";
import { directoryKey } from "./keys.ts";
import {
  type AssignmentRecord,
  type BlocksRecord,
  type DirectoryRecord,
  type HealthRecord,
  parseRecord,
} from "./records.ts";

export type Parsed<T> = BoundedMap<string, { text: string; readonly record: T }>;

/** What an isolate has parsed, so that a request parses a record only if its text changed. */
export type ParsedRecords = {
  readonly directory: Parsed<DirectoryRecord>;
  readonly blocks: Parsed<BlocksRecord>;
  readonly assignments: Parsed<AssignmentRecord>;
  readonly health: Parsed<HealthRecord>;
};

/** Returns the directory record that this isolate has seen last, without a read of KV. Null if it has seen none. */
export const lastDirectory = ({ directory }: Pick<ParsedRecords, "directory">): DirectoryRecord | null =>
  directory.get(directoryKey)?.record ?? null;

type Stored<T> = { readonly text: string | null; readonly schema: v.GenericSchema<unknown, T> };

export const parseOnce = <T>(
  parsed: Parsed<T>,
  key: string,
  { text, schema }: Stored<T>,
): Result<T | null, DirectoryFailure> =>
  text === null ? ok(null) : readOnce(parsed, key, { text, parse: (stored) => parseRecord(key, stored, schema) });

type Readable<T> = { readonly text: string; readonly parse: (text: string) => Result<T, string> };

/** If the text is the same as last time, returns the record that was parsed then. */
export function readOnce<T>(parsed: Parsed<T>, key: string, { text, parse }: Readable<T>): Result<T, DirectoryFailure> {
  const known = parsed.get(key);
  if (known !== undefined && known.text === text) {
    // It takes long to compare a long text with an equal copy, but no time to compare a text with itself. The KV cache gives the next requests this
    // `text` again, so we keep it in place of our copy.
    known.text = text;
    return ok(known.record);
  }
  const record = parse(text);
  if (!record.ok) return err({ reason: "directory", text: record.error });
  parsed.set(key, { text, record: record.value });
  return record;
}
