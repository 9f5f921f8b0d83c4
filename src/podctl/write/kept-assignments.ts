/** The assignments that an apply leaves as they are, because a move depends on them. */
import { nameIn } from "../../directory/keys.ts";
import type { AssignmentRecord } from "../../directory/records.ts";
import { componentsOf, type Prefix } from "../../oci/repository-name.ts";
import type { Topology } from "../../topology/topology.ts";
import { CliFailure } from "../failure.ts";

export type Kept = {
  readonly key: string;
  /** The assignment in KV. Null if only the topology has it: the apply adds no assignment below a group that is being moved. */
  readonly record: AssignmentRecord | null;
  readonly why: string;
};

/** Returns the key of a kept assignment above this key, as `acme` is above `acme/app`. KV lists `acme` first, so `kept` has it already. */
export const keptAbove = (key: string, kept: readonly Kept[]): string | undefined =>
  kept.find((each) => key.startsWith(`${each.key}/`))?.key;

/** Refuses to delete a Pod that a kept assignment names, because every request for that assignment's repositories would then fail. */
export function refuseWithoutPods(kept: readonly Kept[], { pods }: Topology): void {
  for (const { record, why } of kept) {
    const named = record === null ? [] : [record.pod, ...(record.move === undefined ? [] : [record.move.to])];
    const missing = named.find((id) => !pods.has(id));
    if (missing === undefined) continue;
    throw new CliFailure(
      `${why}, so its assignment stays as it is and names Pod "${missing}", which the file does not have; keep that Pod in the file until the move has ended`,
    );
  }
}

/**
 * Returns the directory record that the topology asks for, but with at least the depth of the longest prefix in `kept`. Otherwise the edge would miss
 * a kept assignment, use one with a shorter prefix, and send pushes to another Pod.
 */
export function deepEnoughFor(kept: readonly Kept[], directory: { readonly depth?: number }): object {
  const { depth } = directory;
  if (depth === undefined) return directory;
  const depths = kept.flatMap(({ key, record }) => (record === null ? [] : [componentsOf(nameIn(key) as Prefix)]));
  return { ...directory, depth: Math.max(depth, ...depths) };
}
