/** Undoes the last write: shows what changes, asks the operator, and checks that KV has not changed in the meantime. */
import { isDeepStrictEqual } from "node:util";
import { kindOf } from "../../directory/keys.ts";
import { parseJson, parseJsonObject } from "../../lib/json.ts";
import { type Change, changeOf, inWriteOrder, isReadable } from "../../topology/difference.ts";
import { CliFailure } from "../failure.ts";
import type { KvStore } from "../target/kv-store.ts";
import { describeWrite } from "./history.ts";
import type { Former } from "./history-records.ts";
import { refuseNewer } from "./live-directory.ts";
import { type Holder, holderIn } from "./lost-conditions.ts";
import { keysAbove, refuseToUndoMove } from "./moving.ts";
import { type LastWrite, readLastWrite, undoWrite } from "./undo-write.ts";

export type Rollback = {
  readonly last: LastWrite;
  /** What the rollback changes, in the order in which it is written. */
  readonly changes: readonly Change[];
  /**
   * Maps each key above an assignment that the rollback adds or deletes, such as `a` above `a/b`, to its text after the rollback, or to null if KV
   * then lacks the key. There are at most `maxCompared` such keys.
   */
  readonly above: ReadonlyMap<string, string | null>;
  /**
   * The keys to which the rollback puts back a text that the edge cannot read. Assignments that were not compared with KV are not among these
   * keys.
   */
  readonly unreadable: readonly string[];
  /** How many assignments were not compared with KV, because they are too many. They are not among the changes. */
  readonly uncompared: number;
};

/** Puts back what the last write replaced. `ask` shows the rollback to the operator, and throws a CliFailure if the operator does not want it. */
export async function rollBack(kv: KvStore, ask: (shown: Rollback) => Promise<void>): Promise<Rollback> {
  const shown = await readRollback(kv);
  await ask(shown);
  // KV may have changed while the operator was reading. The rollback would then replace newer texts by older ones, and could lift a block that was
  // just made.
  const now = await readRollback(kv);
  if (!isDeepStrictEqual(now, shown)) {
    throw new CliFailure(
      `KV changed since these changes were shown: ${describeNewer(now, shown)}; run \`podctl rollback\` again`,
    );
  }
  await undoWrite(kv, now.last);
  return now;
}

async function readRollback(kv: KvStore): Promise<Rollback> {
  const last = await readLastWrite(kv);
  await refuseToUndoMove(kv, last.former);
  return { last, ...(await compare(kv, last.former)) };
}

/**
 * An apply may have written a million assignments. We do not compare all of them, because KV returns 100 texts per call and allows 1,200 calls in
 * five minutes.
 */
const maxCompared = 5_000;

async function compare(kv: KvStore, former: Former): Promise<Omit<Rollback, "last">> {
  const byKind = Map.groupBy(former.keys(), (key) => (kindOf(key) === "route" ? "assignment" : "other"));
  const assignments = byKind.get("assignment") ?? [];
  const keys = [...(byKind.get("other") ?? []), ...assignments.slice(0, maxCompared)];
  const live = await kv.read(keys);
  const changes = keys.flatMap((key) => {
    const [before, text] = [live.get(key) ?? null, former.get(key) ?? null];
    refuseNewer(key, before);
    if (before === text) return [];
    const change = changeOf(key, before, text === null ? null : (parseJsonObject(text) ?? {}));
    return change === null ? [] : [change];
  });
  const unreadable = keys.filter((key) => {
    const text = former.get(key) ?? null;
    return text !== null && text !== live.get(key) && !isReadable(key, parseJson(text));
  });
  return {
    unreadable,
    above: await readAbove(kv, former, changes),
    changes: inWriteOrder(changes, ({ after }) => after === null),
    uncompared: Math.max(0, assignments.length - maxCompared),
  };
}

async function readAbove(kv: KvStore, former: Former, changes: readonly Change[]): Promise<Rollback["above"]> {
  const some = changes.filter(({ action }) => action !== "change").flatMap(({ key }) => keysAbove(key));
  const keys = [...new Set(some)].slice(0, maxCompared);
  const live = keys.length === 0 ? new Map<string, string | null>() : await kv.read(keys);
  return new Map(keys.map((key) => [key, (former.has(key) ? former.get(key) : live.get(key)) ?? null]));
}

export const holderAfter = ({ above, last }: Rollback): Holder =>
  holderIn((key) => parseJsonObject(above.get(key) ?? ""), last.before.record?.default);

const describeNewer = (now: Rollback, shown: Rollback): string =>
  isDeepStrictEqual(now.last.index, shown.last.index)
    ? "some of the records have another text now"
    : `the last write was ${describeWrite(shown.last.index)}, and now it is ${describeWrite(now.last.index)}`;
