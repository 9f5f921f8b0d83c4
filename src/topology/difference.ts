/** The difference between the directory as it is in KV and as a topology wants it. Pure. */
import { isDeepStrictEqual } from "node:util";
import * as v from "valibot";
import { kindOf, type RecordKind } from "../directory/keys.ts";
import { directoryRecord, podRecord } from "../directory/records.ts";
import { parseJson } from "../lib/json.ts";

/** A record as it is in KV. */
export type LiveRecord = { readonly key: string; readonly text: string };

export type Change =
  | { readonly action: "add"; readonly key: string; readonly before: null; readonly after: object }
  | { readonly action: "change"; readonly key: string; readonly before: string; readonly after: object }
  | { readonly action: "delete"; readonly key: string; readonly before: string; readonly after: null };

/** Returns the change from the text in KV, `before`, to the wanted record, `after`. Either is null if there is none. Null if nothing has to change. */
export function changeOf(key: string, before: string | null, after: object | null): Change | null {
  if (after === null) return before === null ? null : { action: "delete", key, before, after };
  if (before === null) return { action: "add", key, before, after };
  return saysAlready(key, before, after) ? null : { action: "change", key, before, after };
}

/** The members that say when a record was written, not what it says. */
export const stampMembers: ReadonlySet<string> = new Set(["v", "revision", "appliedAt", "appliedBy"]);

/** Whether the text in KV says the same as the wanted record, apart from spelling and stamps. Text that is not JSON equals nothing. */
function saysAlready(key: string, text: string, wanted: object): boolean {
  const json = parseJson(text);
  return (
    json !== undefined && isDeepStrictEqual(unstamped(key, json), unstamped(key, { v: 1, revision: 0, ...wanted }))
  );
}

function unstamped(key: string, json: unknown): unknown {
  const record = withDefaults(key, json);
  if (typeof record !== "object" || record === null || Array.isArray(record)) return record;
  return Object.fromEntries(Object.entries(record).filter(([name]) => !stampMembers.has(name)));
}

/** Fills in optional members, which only Pods and the directory have. A value that does not fit its schema stays as it is. */
function withDefaults(key: string, json: unknown): unknown {
  const kind = kindOf(key);
  if (kind !== "pod" && kind !== "directory") return json;
  const parsed = v.safeParse(kind === "pod" ? podRecord : directoryRecord, json);
  // JSON leaves out members that are undefined.
  return parsed.success ? JSON.parse(JSON.stringify(parsed.output)) : json;
}

/** A route is written after its Pod and the Pod's keys, and deleted before them. The directory record is written after all others, before all deletes. */
const writeOrder: readonly RecordKind[] = ["pod", "key", "cell", "blocks", "route", "directory"];
const deleteOrder: readonly RecordKind[] = ["route", "blocks", "cell", "key", "pod", "directory"];

/** The items in the order in which they are safe to write: writes come first, then deletes. */
export function inWriteOrder<T extends { readonly key: string }>(
  items: readonly T[],
  isDelete: (item: T) => boolean,
): readonly T[] {
  const byKind = (some: readonly T[]) => Map.groupBy(some, ({ key }) => kindOf(key));
  const written = byKind(items.filter((item) => !isDelete(item)));
  const deleted = byKind(items.filter(isDelete));
  return [
    ...writeOrder.flatMap((kind) => written.get(kind) ?? []),
    ...deleteOrder.flatMap((kind) => deleted.get(kind) ?? []),
  ];
}
