/** Warns of changes whose effect an operator may overlook in a plan. */
import * as v from "valibot";
import { directoryKey, kindOf, nameIn } from "../../directory/keys.ts";
import type { PodId } from "../../directory/pod-id.ts";
import { directoryRecord, parseRecord } from "../../directory/records.ts";
import { parseJsonObject } from "../../lib/json.ts";
import type { Change } from "../../topology/difference.ts";
import { whyLockedOut } from "../../topology/settings.ts";
import { colors, count } from "../output.ts";
import { assignmentOf, type Holder, lostConditions, type Warning } from "./lost-conditions.ts";

const warningsOf = (changes: readonly Change[], holder: Holder): readonly Warning[] => [
  ...changes.flatMap(lockouts),
  ...changes.flatMap((change) => lostConditions(change, holder)),
  ...otherDefault(changes),
  ...partings(changes),
];

const maxShownOfKind = 20;

export function warningLines(changes: readonly Change[], holder: Holder): readonly string[] {
  const byDoing = Map.groupBy(warningsOf(changes, holder), ({ doing }) => doing);
  return [...byDoing].flatMap(([doing, some]) => {
    const left = some.length - maxShownOfKind;
    const lines = some.slice(0, maxShownOfKind).map(({ line }) => line);
    return [...lines, ...(left > 0 ? [`${doing}: ${count(left)} more`] : [])].map((line) => colors.red(`  ! ${line}`));
  });
}

export function writeQuestion(target: string, changes: readonly Change[], holder: Holder): string {
  const doings = new Set(warningsOf(changes, holder).map(({ doing }) => doing));
  const question = [...doings, `write this to ${target}?`].join(", and ");
  return `${question.slice(0, 1).toUpperCase()}${question.slice(1)}`;
}

function lockouts({ key, after }: Change): readonly Warning[] {
  if (kindOf(key) !== "route" || after === null || !("clients" in after)) return [];
  const why = whyLockedOut(assignmentOf(after)?.clients);
  if (why === null) return [];
  return [{ line: `no client could use ${nameIn(key)} any more: ${why}`, doing: "lock out every client of a group" }];
}

function otherDefault(changes: readonly Change[]): readonly Warning[] {
  const change = changes.find(({ key }) => key === directoryKey);
  if (change?.action !== "change") return [];
  const [from, to] = [defaultOf(parseJsonObject(change.before)), defaultOf(change.after)];
  if (from === null || from === to) return [];
  const holder = to === null ? "no Pod" : `${to}, without their images`;
  const line = `names without an assignment would belong to ${holder}, and no longer to ${from}`;
  return [{ line, doing: "change the default Pod" }];
}

export const defaultOf = (record: object | null): string | null =>
  record !== null && "default" in record && typeof record.default === "string" ? record.default : null;

/**
 * Warns of Pods that no longer share a registry after these changes. If a registry has only one Pod left, the edge lets tokens of an unknown key
 * through to this registry. A deleted Pod's key is unknown. If the registry still trusts this key, the deleted Pod's token service could give rights
 * to all names of the registry.
 */
function partings(changes: readonly Change[]): readonly Warning[] {
  const change = changes.find(({ key }) => key === directoryKey);
  if (change === undefined || change.before === null) return [];
  const before = parseRecord(directoryKey, change.before, directoryRecord);
  const after = v.safeParse(directoryRecord, { v: 1, revision: 0, ...change.after });
  if (!before.ok) return [];
  const left = leavers(changes);
  const kept = after.success ? (after.output.sharedRegistries ?? []) : [];
  return (before.value.sharedRegistries ?? []).flatMap((pods) => {
    const parted = pods.filter((pod) => pods.some((other) => !kept.some((all) => isIn(all, pod, other))));
    if (parted.length === 0) return [];
    const [leaving, staying] = [parted.filter((pod) => left.has(pod)), pods.filter((pod) => !left.has(pod))];
    return staying.length === 0 ? [] : [partingOf(leaving, staying)];
  });
}

const isIn = (pods: readonly PodId[], one: PodId, other: PodId): boolean => pods.includes(one) && pods.includes(other);

/** The Pods whose records are deleted or get another registry. */
function leavers(changes: readonly Change[]): ReadonlySet<string> {
  const registryOf = (record: object | null) => (record !== null && "registry" in record ? record.registry : null);
  const pods = changes.filter(
    ({ key, before, after }) =>
      kindOf(key) === "pod" && before !== null && registryOf(parseJsonObject(before)) !== registryOf(after),
  );
  return new Set(pods.map(({ key }) => nameIn(key)));
}

function partingOf(leaving: readonly PodId[], staying: readonly PodId[]): Warning {
  const [gone, rest] = [leaving.join(" and "), staying.join(" and ")];
  if (leaving.length === 0) {
    return {
      line: `the directory would no longer say that ${rest} have one registry, so the edge would not keep them apart`,
      doing: `no longer keep ${rest} apart`,
    };
  }
  const why = "because the edge would let tokens of an unknown key through to it";
  return {
    line: `${gone} will not share a registry with ${rest} any more; first take the key of ${gone} out of that registry, ${why}`,
    doing: `take ${gone} out of the registry of ${rest}`,
  };
}
