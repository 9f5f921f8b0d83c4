/** Records as the topology that asks for them. Pure. */
import { stringify } from "yaml";
import { kindOf, nameIn } from "../../directory/keys.ts";
import {
  assignmentRecord,
  blockRecord,
  cellRecord,
  type DirectoryRecord,
  directoryRecord,
  type PodRecord,
  parseRecord,
  podRecord,
} from "../../directory/records.ts";
import type { LiveRecord } from "../../topology/content.ts";
import { orFail } from "../failure.ts";

export type DirectoryExport = {
  readonly assignments: readonly (readonly [prefix: string, pod: string])[];
  /** With the assignments inline, unless they stand in a file. */
  topology(assignmentsFile: string | undefined): object;
  yaml(topology: object): string;
};

export function exportDirectory(): {
  readonly see: (records: readonly LiveRecord[]) => void;
  readonly end: () => DirectoryExport;
} {
  const pods = new Map<string, PodRecord>();
  const cells = new Map<string, string[]>();
  const assignments: [string, string][] = [];
  const blocks: [string, string][] = [];
  let settings: DirectoryRecord | null = null;
  return {
    see(records) {
      for (const { key, text } of records) {
        const name = nameIn(key);
        const kind = kindOf(key);
        if (kind === "pod") pods.set(name, orFail(parseRecord(key, text, podRecord)));
        else if (kind === "route") assignments.push([name, orFail(parseRecord(key, text, assignmentRecord)).pod]);
        else if (kind === "block") blocks.push([name, orFail(parseRecord(key, text, blockRecord)).text]);
        else if (kind === "directory") settings = orFail(parseRecord(key, text, directoryRecord));
        else if (kind === "cell") {
          const { pod } = orFail(parseRecord(key, text, cellRecord));
          cells.set(pod, [...(cells.get(pod) ?? []), name]);
        }
      }
    },
    end: () => ({
      assignments,
      topology: (assignmentsFile) => ({
        pods: podsOf(pods, cells, settings),
        ...(assignmentsFile === undefined ? { assignments: Object.fromEntries(assignments) } : { assignmentsFile }),
        ...(settings?.default === undefined ? {} : { default: settings.default }),
        credentials: settings?.credentials ?? "own",
        ...(blocks.length === 0 ? {} : { blocks: Object.fromEntries(blocks) }),
      }),
      yaml: (topology) => stringify(topology, { lineWidth: 0, aliasDuplicateObjects: false }),
    }),
  };
}

/** In the order that the directory record has them in, for it is part of that record. */
function podsOf(
  pods: ReadonlyMap<string, PodRecord>,
  cells: ReadonlyMap<string, readonly string[]>,
  settings: DirectoryRecord | null,
): object {
  const ids = new Set<string>([...(settings?.pods ?? []).filter((id) => pods.has(id)), ...pods.keys()]);
  return Object.fromEntries([...ids].map((id) => [id, podOf(pods.get(id), cells.get(id))]));
}

function podOf(record: PodRecord | undefined, cells: readonly string[] | undefined): object {
  const { v: _, revision: __, state, ...pod } = record ?? {};
  return { ...(state === "active" ? {} : { state }), ...pod, ...(cells === undefined ? {} : { cells }) };
}
