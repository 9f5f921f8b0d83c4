import type { Prefix } from "../oci/repository-name.ts";
import type { PodId } from "./pod-id.ts";

/** KV keys are spelled only here and in docs/directory-schema.md. */
export const directoryKey = "directory";
export const blocksKey = "blocks";
export const podPrefix = "pod/";
export const podKey = (id: PodId): string => `${podPrefix}${id}`;
export const routePrefix = "route/";
export const routeKey = (prefix: Prefix): string => `${routePrefix}${prefix}`;
export const tokenKeyKey = (kid: string): string => `key/${kid}`;
export const cellKey = (cell: string): string => `cell/${cell}`;
/** The key of the Worker's verdicts on stores. The operator does not write this record, so podctl neither plans nor exports it. */
export const healthKey = "health";
/** The history keeps the records that each write replaced. For each write, it has one index record, and chunks with the replaced texts. */
export const historyPrefix = "history/";
export const historyKey = (revision: number): string => `${historyPrefix}${revision}`;
export const historyChunkKey = (revision: number, chunk: number): string => `${historyPrefix}${revision}/${chunk}`;

/** Whether every request needs this key. Such a key is kept as if the directory had chosen it, and it costs no budget. */
export const isShared = (key: string): boolean => key === directoryKey || key === blocksKey;

/** The name in a record's key: a Pod's id, a prefix, a cell or a `kid`. */
export const nameIn = (key: string): string => key.slice(key.indexOf("/") + 1);

const recordKinds = ["pod", "key", "cell", "blocks", "route", "directory"] as const;
export type RecordKind = (typeof recordKinds)[number];

/** Null for a key that is not a record of the directory. */
export function kindOf(key: string): RecordKind | null {
  const slash = key.indexOf("/");
  const kind = slash < 0 ? key : key.slice(0, slash);
  const isWhole = isShared(kind);
  return recordKinds.find((known) => known === kind && slash > 0 === !isWhole) ?? null;
}
