/** Compares the directory in KV with the directory that a topology asks for. Pure. */
import { isDeepStrictEqual } from "node:util";
import * as v from "valibot";
import { kindOf, type RecordKind } from "../directory/keys.ts";
import { assignmentRecord, blocksRecord, directoryRecord, ownerRecord, podRecord } from "../directory/records.ts";
import { isObject, parseJson } from "../lib/json.ts";

export type LiveRecord = { readonly key: string; readonly text: string };

export type Change =
  | { readonly action: "add"; readonly key: string; readonly before: null; readonly after: object }
  | { readonly action: "change"; readonly key: string; readonly before: string; readonly after: object }
  | { readonly action: "delete"; readonly key: string; readonly before: string; readonly after: null };

/** `before` is the text in KV, or null if KV has no such record. `after` is null if KV should have none. */
export function changeOf(key: string, before: string | null, after: object | null): Change | null {
  if (after === null) return before === null ? null : { action: "delete", key, before, after };
  if (before === null) return { action: "add", key, before, after };
  return saysAlready(key, before, after) ? null : { action: "change", key, before, after };
}

/** The members that say in which form, when and by whom the record was written. They do not count as its content. */
export const stampMembers: ReadonlySet<string> = new Set(["v", "revision", "appliedAt", "appliedBy"]);

/** Spelling and the `stampMembers` make no difference. False if the edge cannot read the text, so that the record is written anew. */
function saysAlready(key: string, text: string, wanted: object): boolean {
  const json = parseJson(text);
  return (
    isReadable(key, json) && isDeepStrictEqual(unstamped(key, json), unstamped(key, { v: 1, revision: 0, ...wanted }))
  );
}

const schemas: Readonly<Record<RecordKind, v.GenericSchema>> = {
  pod: podRecord,
  key: ownerRecord,
  cell: ownerRecord,
  blocks: blocksRecord,
  route: assignmentRecord,
  directory: directoryRecord,
};

/** Whether the edge can read this value of a key, with all its members. `json` is undefined if the text is not JSON. */
export function isReadable(key: string, json: unknown): boolean {
  const kind = kindOf(key);
  return kind !== null && v.is(schemas[kind], json);
}

function unstamped(key: string, json: unknown): unknown {
  const record = withDefaults(key, json);
  if (!isObject(record)) return record;
  return Object.fromEntries(Object.entries(record).filter(([name]) => !stampMembers.has(name)));
}

/** Fills in the defaults of a Pod's record or of the directory record. A value that does not fit its schema stays as it is. */
function withDefaults(key: string, json: unknown): unknown {
  const kind = kindOf(key);
  if (kind !== "pod" && kind !== "directory") return json;
  const parsed = v.safeParse(schemas[kind], json);
  // `isDeepStrictEqual` finds an undefined member different from a missing one. JSON leaves out undefined members.
  return parsed.success ? JSON.parse(JSON.stringify(parsed.output)) : json;
}

/**
 * An assignment is written after its Pod and the Pod's keys, and deleted before them. So KV never has an assignment whose Pod has no record.
 * The directory record is written after all other records and before the first delete. `DirectorySteps` says why.
 */
const writeOrder: readonly RecordKind[] = ["pod", "key", "cell", "blocks", "route", "directory"];
const deleteOrder: readonly RecordKind[] = ["route", "blocks", "cell", "key", "pod", "directory"];

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
