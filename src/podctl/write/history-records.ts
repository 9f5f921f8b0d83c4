/** The records that keep what a write replaced, so that a rollback can put it back byte for byte. docs/directory-schema.md describes them too. */
import * as v from "valibot";
import { historyChunkKey } from "../../directory/keys.ts";
import { isoTime } from "../../lib/iso-time.ts";

/**
 * The record `history/<revision>`. podctl writes this record before all other records of a write. It removes this record after a rollback of the
 * write, or after ten newer writes.
 */
export const historyIndex = v.strictObject({
  v: v.literal(1),
  /** The revision that the write makes. When the directory record has this revision, the write is complete. */
  revision: v.pipe(v.number(), v.integer(), v.minValue(1)),
  at: isoTime,
  by: v.string(),
  /** At least one, because each write replaces the directory record. */
  chunks: v.pipe(v.number(), v.integer(), v.minValue(1)),
  /** A rollback of the write has begun. */
  undone: v.optional(v.literal(true)),
});
export type HistoryIndex = v.InferOutput<typeof historyIndex>;

/** A key and its former text, or null if KV did not have the key. */
const former = v.tuple([v.string(), v.nullable(v.string())]);
export const historyChunk = v.strictObject({ v: v.literal(1), former: v.array(former) });
export type HistoryChunk = v.InferOutput<typeof historyChunk>;
export type Former = ReadonlyMap<string, string | null>;

/** A value in KV may have 25 MiB. This many characters take at most 24 MB in JSON, where an escape has six bytes. */
const maxChunkCharacters = 4_000_000;

export function* historyChunks(revision: number, all: Former): Generator<readonly [key: string, text: string]> {
  let chunk = 0;
  let some: [string, string | null][] = [];
  let characters = 0;
  const entry = () => [historyChunkKey(revision, chunk), JSON.stringify({ v: 1, former: some })] as const;
  for (const [key, text] of all) {
    const size = key.length + (text?.length ?? 0);
    if (characters + size > maxChunkCharacters && some.length > 0) {
      yield entry();
      [chunk, some, characters] = [chunk + 1, [], 0];
    }
    some.push([key, text]);
    characters += size;
  }
  if (some.length > 0) yield entry();
}
