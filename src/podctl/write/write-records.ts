import { directoryKey, kindOf } from "../../directory/keys.ts";
import { chunksOf } from "../../lib/collections.ts";
import type { DirectorySteps } from "../../topology/record-text.ts";
import { type KvStore, maxBulkKeys } from "../target/kv-store.ts";
import { keysAbove } from "./moving.ts";

/** One key to write, or to delete if `after` is null. */
type Write<After = unknown> = { readonly key: string; readonly after: After | null };

type Options<After> = {
  readonly steps: DirectorySteps;
  /** Returns a record's text. It is called only when the record is written, because the texts of a million records take hundreds of MB. */
  readonly textOf: (key: string, after: After) => string;
  readonly onProgress: (keys: number) => void;
};

/**
 * `writes` must be in the order of `inWriteOrder`. Before the assignments and before the deletions, this also writes the directory record, as
 * {@link DirectorySteps} says. The caller writes that record's final text at the end.
 *
 * For a time, an edge may see a later write, but not an earlier one. A name could then get a wrong Pod or none, or its group could lose a
 * restriction. In these cases, this waits until every edge sees the earlier write.
 */
export async function writeRecords<After>(
  kv: KvStore,
  writes: readonly Write<After>[],
  { steps, textOf, onProgress }: Options<After>,
): Promise<void> {
  const [written, deleted] = [
    writes.filter(({ after }) => after !== null),
    writes.filter(({ after }) => after === null),
  ];
  // KV may write the keys of one call in any order, so each call has records of only one kind.
  for (const [kind, some] of byKind(written)) {
    if (kind === "route" && steps.widened !== null) await kv.write([[directoryKey, steps.widened]]);
    for (const [step, records] of stepsOf(some).entries()) {
      if (step > 0) await kv.untilSeen();
      for (const chunk of chunksOf(records, maxBulkKeys)) {
        await kv.write(chunk.map(({ key, after }) => [key, after === null ? "" : textOf(key, after)]));
        onProgress(chunk.length);
      }
    }
  }
  // Without this wait, a name that has just got its assignment could go to the new default Pod.
  if (steps.changesDefault && written.some(isRoute)) await kv.untilSeen();
  if (deleted.length > 0 && steps.settled !== null) await kv.write([[directoryKey, steps.settled]]);
  if (relyOnWrites(deleted, written, steps)) await kv.untilSeen();
  for (const [, some] of byKind(deleted)) {
    for (const chunk of chunksOf(some, maxBulkKeys)) {
      await kv.remove(chunk.map(({ key }) => key));
      onProgress(chunk.length);
    }
  }
}

/**
 * Puts an assignment into a later step than those of longer prefixes. An edge that sees only the assignment of the shorter prefix would use it for
 * their names, too.
 */
function stepsOf<W extends Write>(writes: readonly W[]): readonly (readonly W[])[] {
  const above = new Set(writes.flatMap(({ key }) => keysAbove(key)));
  const later = writes.filter(({ key }) => above.has(key));
  return later.length === 0 ? [writes] : [writes.filter(({ key }) => !above.has(key)), ...stepsOf(later)];
}

const isRoute = ({ key }: Write): boolean => kindOf(key) === "route";

/**
 * Whether the deletions must wait until every edge sees the writes. An edge that sees a deletion first could give a name the default Pod, or a Pod
 * without a record. It could also lift a restriction of a group.
 */
function relyOnWrites(
  deleted: readonly Write[],
  written: readonly Write[],
  { changesDefault }: DirectorySteps,
): boolean {
  // If nothing is deleted, we skip the sets below, which may have a million keys.
  if (deleted.length === 0) return false;
  if (changesDefault) return true;
  const [routes, deletedRoutes] = [routesIn(written), routesIn(deleted)];
  if (routes.size === 0) return false;
  const isConcerned = ({ key }: Write) => kindOf(key) === "pod" || isBelow(key, routes);
  return deleted.some(isConcerned) || written.some(({ key }) => isBelow(key, deletedRoutes));
}

const routesIn = (writes: readonly Write[]): ReadonlySet<string> =>
  new Set(writes.filter(isRoute).map(({ key }) => key));
const isBelow = (key: string, routes: ReadonlySet<string>): boolean =>
  routes.size > 0 && keysAbove(key).some((above) => routes.has(above));

const byKind = <W extends Write>(writes: readonly W[]) => Map.groupBy(writes, ({ key }) => kindOf(key));
