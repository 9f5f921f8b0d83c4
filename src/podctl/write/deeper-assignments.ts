/** Warns of deeper assignments to which a group's new restriction does not apply, because they have settings of their own. */
import { isDeepStrictEqual } from "node:util";
import { kindOf, nameIn } from "../../directory/keys.ts";
import { parseJsonObject } from "../../lib/json.ts";
import type { Change } from "../../topology/difference.ts";
import { colors } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { readLive } from "./live-directory.ts";
import { assignmentOf, lostFrom } from "./lost-conditions.ts";

const maxShown = 5;

/**
 * If the change restricts a group `a`, returns a line that names the assignments such as `a/b` that lack this restriction. If there are none, or if
 * the change restricts nothing, returns no line.
 */
export async function deeperLines(kv: KvStore, { key, before, after }: Change): Promise<readonly string[]> {
  if (kindOf(key) !== "route" || before === null || after === null || !isStricter(before, after)) return [];
  const names: string[] = [];
  for await (const page of readLive(kv, `${key}/`)) {
    for (const live of page) {
      const { clients, readOnly } = lostFrom(after, parseJsonObject(live.text) ?? {});
      if (clients !== "none" || readOnly) names.push(nameIn(live.key));
    }
    if (names.length > maxShown) break;
  }
  if (names.length === 0) return [];
  const shown = [...names.slice(0, maxShown), ...(names.length > maxShown ? ["and more"] : [])].join(", ");
  return [colors.yellow(`  ! the settings of ${nameIn(key)} do not hold for these assignments below it: ${shown}`)];
}

/** Whether the change adds a restriction to the group, or changes one. */
function isStricter(before: string, after: object): boolean {
  const [was, is] = [assignmentOf(parseJsonObject(before)), assignmentOf(after)];
  if (is === null || (is.clients === undefined && is.state === "active")) return false;
  return !isDeepStrictEqual([was?.state, was?.clients], [is.state, is.clients]);
}
