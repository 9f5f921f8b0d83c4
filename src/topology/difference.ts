/** The difference between the directory as it is in KV and as it is wanted. Pure; records are compared page by page as they come. */

import { kindOf, type RecordKind } from "../directory/keys.ts";
import { type LiveRecord, saysAlready } from "./content.ts";
import type { WantedRecords } from "./topology.ts";

export type Change =
  | { readonly action: "add"; readonly key: string; readonly before: null; readonly after: object }
  | { readonly action: "change"; readonly key: string; readonly before: string; readonly after: object }
  | { readonly action: "delete"; readonly key: string; readonly before: string; readonly after: null };

export type Difference = {
  /** In the order of {@link inPhases}. */
  readonly changes: readonly Change[];
  /** Blocks that nobody wants in writing: only `podctl unblock` lifts a block. */
  readonly keptBlocks: readonly string[];
};

export type Comparison = {
  readonly see: (live: readonly LiveRecord[]) => void;
  /** Once, after all records were seen. */
  readonly end: () => Difference;
};

export function compareWith(wanted: WantedRecords): Comparison {
  const changes: Change[] = [];
  const keptBlocks: string[] = [];
  return {
    see(live) {
      const wantedOfLive = wanted.take(live.map(({ key }) => key));
      for (const [index, record] of live.entries()) {
        const { key, text: before } = record;
        const after = wantedOfLive[index];
        if (after !== undefined) {
          if (!saysAlready(record, after)) changes.push({ action: "change", key, before, after });
        } else if (kindOf(key) === "block") keptBlocks.push(key);
        else changes.push({ action: "delete", key, before, after: null });
      }
    },
    end() {
      for (const [key, after] of wanted.rest()) changes.push({ action: "add", key, before: null, after });
      const inOrder = inPhases(changes, ({ after }) => after === null).flatMap(({ items }) => items);
      return { changes: inOrder, keptBlocks };
    },
  };
}

/** A route is written after its Pod and that Pod's keys, and deleted before them. The directory record comes between. */
const writeOrder: readonly RecordKind[] = ["pod", "key", "cell", "block", "route", "directory"];
const deleteOrder: readonly RecordKind[] = ["route", "block", "cell", "key", "pod", "directory"];

type Phase<T> = { readonly kind: RecordKind; readonly deletes: boolean; readonly items: readonly T[] };

/** What is to be written or deleted, phase by phase; phases without items are there too. */
export function inPhases<T extends { readonly key: string }>(
  items: readonly T[],
  isDelete: (item: T) => boolean,
): readonly Phase<T>[] {
  const nameOf = (kind: RecordKind | null, deletes: boolean) => `${kind} ${deletes}`;
  const byName = Map.groupBy(items, (item) => nameOf(kindOf(item.key), isDelete(item)));
  const phase = (kind: RecordKind, deletes: boolean) => ({
    kind,
    deletes,
    items: byName.get(nameOf(kind, deletes)) ?? [],
  });
  return [...writeOrder.map((kind) => phase(kind, false)), ...deleteOrder.map((kind) => phase(kind, true))];
}
