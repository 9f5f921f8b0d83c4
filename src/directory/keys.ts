import type { Prefix } from "../oci/repository-name.ts";
import type { PodId } from "./pod-id.ts";

/** KV keys are spelled only in this file and in docs/directory-schema.md. */
export const directoryKey = "directory";
export const blocksKey = "blocks";
export const podPrefix = "pod/";
export const podKey = (id: PodId): string => `${podPrefix}${id}`;
export const routePrefix = "route/";
export const routeKey = (prefix: Prefix): string => `${routePrefix}${prefix}`;
export const tokenKeyKey = (kid: string): string => `key/${kid}`;
export const cellKey = (cell: string): string => `cell/${cell}`;
/** Under this key the Worker records which stores answer its checks. podctl neither plans nor exports the record, because no operator writes it. */
export const healthKey = "health";
/** For each write of podctl, the history has one index record, and chunks with the texts that the write replaced. */
export const historyPrefix = "history/";
export const historyKey = (revision: number): string => `${historyPrefix}${revision}`;
export const historyChunkKey = (revision: number, chunk: number): string => `${historyPrefix}${revision}/${chunk}`;

/** Whether every request needs this key. An isolate always keeps such a key in memory, and no limit applies to the reads of it. */
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
