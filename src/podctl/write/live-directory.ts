import { directoryKey, historyPrefix, kindOf, nameIn } from "../../directory/keys.ts";
import { type DirectoryRecord, directoryRecord, parseRecord, useNewer, whyNewer } from "../../directory/records.ts";
import { parseJson } from "../../lib/json.ts";
import type { Result } from "../../lib/result.ts";
import { componentsOf, type Prefix } from "../../oci/repository-name.ts";
import type { Change, LiveRecord } from "../../topology/difference.ts";
import { contentOf, isWithin } from "../../topology/record-text.ts";
import { CliFailure } from "../failure.ts";
import { type KvStore, type ListedKey, readOne } from "../target/kv-store.ts";

/** The directory record and its text in KV; both are null before the first apply. */
export type DirectoryInKv = { readonly record: DirectoryRecord | null; readonly text: string | null };

/** Returns what was read in KV. Throws a CliFailure if a record is damaged, or if a newer podctl has written it. */
export function orDamaged<T>(result: Result<T, Unreadable>): T {
  if (result.ok) return result.value;
  throw new CliFailure(damageText(result.error));
}

type Unreadable = string | { readonly text: string };

export function damageText(error: Unreadable): string {
  const text = typeof error === "string" ? error : error.text;
  return text.endsWith(useNewer) ? text : `${text}; docs/runbook.md says what to do (A record is damaged)`;
}

export const directoryInKv = (text: string | null): DirectoryInKv => ({
  text,
  record: text === null ? null : orDamaged(parseRecord(directoryKey, text, directoryRecord)),
});

export async function readDirectory(kv: KvStore): Promise<DirectoryInKv> {
  return directoryInKv(await readOne(kv, directoryKey));
}

/**
 * Refuses to go on if a newer podctl has written this record. We would not understand all of it, such as that its group is being moved, and would
 * write it without that part.
 */
export function refuseNewer(key: string, text: string | null): void {
  // A directory may have a million assignments, and almost all begin like this, so we do not parse those.
  if (text === null || text.startsWith('{"v":1,')) return;
  const newer = whyNewer(key, parseJson(text));
  if (newer !== null) throw new CliFailure(newer);
}

/**
 * Returns the change that raises the directory's depth, or null if none is needed. The edge finds an assignment only if its prefix is not deeper than
 * that depth.
 */
export function raiseDepth(key: string, { record, text }: DirectoryInKv): Change | null {
  if (kindOf(key) !== "route" || record === null || text === null) return null;
  const depth = componentsOf(nameIn(key) as Prefix);
  return isWithin(depth, record)
    ? null
    : { action: "change", key: directoryKey, before: text, after: { ...contentOf(record), depth } };
}

/** Yields all records except the history, in pages and in the order of the keys. With `prefix`, yields only records whose keys begin with it. */
export async function* readLive(
  kv: Pick<KvStore, "list" | "read">,
  prefix?: string,
): AsyncGenerator<readonly LiveRecord[]> {
  for await (const page of kv.list(prefix)) yield await recordsOf(kv, page);
}

async function recordsOf(kv: Pick<KvStore, "read">, page: readonly ListedKey[]): Promise<readonly LiveRecord[]> {
  const listed = page.filter(({ key }) => !key.startsWith(historyPrefix) && kindOf(key) !== null);
  // In a listing, the metadata of most keys repeats their values, so we read only the other values.
  const unseen = listed.filter(({ metadata }) => !isRecord(metadata)).map(({ key }) => key);
  const read = unseen.length === 0 ? new Map<string, string | null>() : await kv.read(unseen);
  return listed.flatMap(({ key, metadata }): LiveRecord[] => {
    if (isRecord(metadata)) return [{ key, text: JSON.stringify(metadata) }];
    const text = read.get(key) ?? null;
    // Null means that the key was deleted after it was listed.
    return text === null ? [] : [{ key, text }];
  });
}

/** Whether the metadata repeats a record. Writers other than podctl may keep something else there. */
const isRecord = (metadata: unknown): metadata is object =>
  typeof metadata === "object" && metadata !== null && "v" in metadata;
