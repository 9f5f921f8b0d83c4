/** The difference between the directory as it is in KV and as it is wanted. Pure; records are compared one by one as they come. */
import { contentOf, contentOfWanted } from "./content.ts";
import { kindOf, type RecordKind } from "./keys.ts";
import type { WantedRecords } from "./topology.ts";

/** A record as it stands in KV. `json` is its text parsed, undefined for text that is no JSON. */
export type LiveRecord = { readonly key: string; readonly text: string; readonly json: unknown };

export type Change =
  | { readonly action: "add"; readonly key: string; readonly before: null; readonly after: object }
  | { readonly action: "change"; readonly key: string; readonly before: string; readonly after: object }
  | { readonly action: "delete"; readonly key: string; readonly before: string; readonly after: null };

export type Difference = {
  /** In the order of {@link inSafeOrder}. */
  readonly changes: readonly Change[];
  /** Blocks that nobody wants in writing: only `podctl unblock` lifts a block. */
  readonly keptBlocks: readonly string[];
};

export type Comparison = {
  readonly see: (live: LiveRecord) => void;
  /** Once, after all records were seen. */
  readonly end: () => Difference;
};

export function compareWith(wanted: WantedRecords): Comparison {
  const changes: Change[] = [];
  const keptBlocks: string[] = [];
  const seen: string[] = [];
  return {
    see({ key, text: before, json }) {
      const after = wanted.get(key);
      if (after !== undefined) {
        seen.push(key);
        const same = json !== undefined && contentOf(key, json) === contentOfWanted(key, after);
        if (!same) changes.push({ action: "change", key, before, after });
      } else if (kindOf(key) === "block") keptBlocks.push(key);
      else changes.push({ action: "delete", key, before, after: null });
    },
    end() {
      // Most often all are there.
      const there = seen.length === wanted.size ? null : new Set(seen);
      if (there !== null) {
        for (const [key, after] of wanted.all()) {
          if (!there.has(key)) changes.push({ action: "add", key, before: null, after });
        }
      }
      return { changes: inSafeOrder(changes), keptBlocks };
    },
  };
}

/** A route is written after its Pod and that Pod's keys, and deleted before them. The directory record comes between. */
const writeOrder: readonly RecordKind[] = ["pod", "key", "cell", "block", "route", "directory"];
const deleteOrder: readonly RecordKind[] = ["route", "block", "cell", "key", "pod", "directory"];

type Phase = { readonly kind: RecordKind; readonly deletes: boolean };
export const phases: readonly Phase[] = [
  ...writeOrder.map((kind) => ({ kind, deletes: false })),
  ...deleteOrder.map((kind) => ({ kind, deletes: true })),
];

function inSafeOrder<T extends { readonly key: string; readonly after: unknown }>(changes: readonly T[]): T[] {
  const byPhase = new Map<string, T[]>(phases.map(({ kind, deletes }) => [`${kind} ${deletes}`, []]));
  for (const change of changes) byPhase.get(`${kindOf(change.key)} ${change.after === null}`)?.push(change);
  return [...byPhase.values()].flat();
}
