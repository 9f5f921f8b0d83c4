/** Formats a plan as text and as JSON, with one line for each change. A value of a Pod record is never shown, because it may be a secret. */
import { kindOf } from "../../directory/keys.ts";
import { parseJson, parseJsonObject } from "../../lib/json.ts";
import { type BlockChanges, blockChanges, parseBlocks } from "../../topology/blocks.ts";
import { type Change, isReadable, stampMembers } from "../../topology/difference.ts";
import { colors, count, counted } from "../output.ts";
import { describeUnfinished } from "./history.ts";
import type { HistoryIndex } from "./history-records.ts";
import { isEmpty, type Plan } from "./make-plan.ts";
import { defaultOf, warningLines } from "./warnings.ts";

type ChangeView = {
  readonly action: Change["action"];
  readonly key: string;
  /** The Pod that the record names before and after the change; null if it names none. */
  readonly pod?: { readonly from: string | null; readonly to: string | null };
  /** The changed members of the record. For an assignment, `pod` is not listed here, because the member `pod` above shows it. */
  readonly members?: readonly string[];
  /** The default Pod before and after the change; null if there is none. */
  readonly default?: { readonly from: string | null; readonly to: string | null };
  readonly blocks?: BlockChanges;
  /** The record in KV does not parse, so the edge cannot read it. */
  readonly unreadable?: true;
};

export function viewOf(change: Change): ChangeView {
  const { key, before } = change;
  const isUnreadable = before !== null && !isReadable(key, parseJson(before));
  return { ...membersOf(change), ...(isUnreadable ? { unreadable: true } : {}) };
}

function membersOf({ action, key, before, after }: Change): ChangeView {
  const from = before === null ? null : parseJsonObject(before);
  const kind = kindOf(key);
  if (kind === "route" || kind === "key" || kind === "cell") {
    const members = kind === "route" && after !== null ? changedSettings(from, after) : [];
    const settings = members.length > 0 ? { members } : {};
    return { action, key, pod: { from: podOf(from), to: podOf(after) }, ...settings };
  }
  if (kind === "blocks")
    return { action, key, blocks: blockChanges(blocksOf(before), blocksOf(JSON.stringify(after))) };
  if (action !== "change") return { action, key };
  const members = changedMembers(from, after);
  const isOtherDefault = kind === "directory" && members.includes("default");
  return {
    action,
    key,
    members,
    ...(isOtherDefault ? { default: { from: defaultOf(from), to: defaultOf(after) } } : {}),
  };
}

function blocksOf(text: string | null): ReadonlyMap<string, string> {
  const json = text === null ? null : parseJsonObject(text);
  const blocks = parseBlocks(json === null ? null : JSON.stringify({ v: 1, revision: 0, ...json }));
  return blocks.ok ? blocks.value : new Map();
}

const podOf = (record: object | null): string | null =>
  record !== null && "pod" in record && typeof record.pod === "string" ? record.pod : null;

function changedMembers(from: object | null, to: object | null): readonly string[] {
  const before = new Map(Object.entries(from ?? {}));
  const after = new Map(Object.entries(to ?? {}));
  const names = new Set([...before.keys(), ...after.keys()]);
  for (const stamp of stampMembers) names.delete(stamp);
  return [...names].filter((name) => JSON.stringify(before.get(name)) !== JSON.stringify(after.get(name)));
}

/** For a new assignment, the default state `active` is not shown. */
const changedSettings = (from: object | null, to: object): readonly string[] =>
  changedMembers(from ?? { state: "active" }, to).filter((name) => name !== "pod");

const signs = { add: "+", change: "~", delete: "-" } as const;
const paints = { add: colors.green, change: colors.yellow, delete: colors.red } as const;
const maxShownOfKind = 20;

export function changeLines(changes: readonly Change[]): readonly string[] {
  const byKind = Map.groupBy(changes, ({ action, key }) => `${signs[action]} ${kindOf(key)}`);
  return [...byKind].flatMap(([kind, some]) => {
    const left = some.length - maxShownOfKind;
    const lines = some.slice(0, maxShownOfKind).map(changeLine);
    return left > 0 ? [...lines, `  ${kind}/… and ${count(left)} more`] : lines;
  });
}

function changeLine(change: Change): string {
  const { action, key, pod, members = [], default: other, blocks, unreadable } = viewOf(change);
  if (blocks !== undefined) return paints[action](`  ${signs[action]} ${key}: ${blocksText(blocks)}`);
  const pods = pod === undefined ? [] : [...new Set([pod.from, pod.to])].filter((id) => id !== null);
  const named = members.map((name) =>
    name === "default" && other !== undefined ? `default ${other.from ?? "none"} → ${other.to ?? "none"}` : name,
  );
  const what = [...(pods.length === 0 ? [] : [pods.join(" → ")]), ...named].join(", ");
  const why = unreadable === true ? " (the edge cannot read this record now)" : "";
  return paints[action](`  ${signs[action]} ${key}${what === "" ? "" : `: ${what}`}${why}`);
}

function blocksText({ added, changed, lifted }: BlockChanges): string {
  const all = [
    ...added.map((name) => `${signs.add} ${name}`),
    ...changed.map((name) => `${signs.change} ${name}`),
    ...lifted.map((name) => `${signs.delete} ${name}`),
  ];
  const left = all.length - maxShownOfKind;
  return [...all.slice(0, maxShownOfKind), ...(left > 0 ? [`and ${count(left)} more`] : [])].join(", ");
}

function summaryOf(changes: readonly Change[]): Readonly<Record<Change["action"], number>> {
  const summary = { add: 0, change: 0, delete: 0 };
  for (const { action } of changes) summary[action] += 1;
  return summary;
}

export function planLines(plan: Plan, target: string): readonly string[] {
  const { state, changes, keptBlocks, unreadBlocks, unfound, moving, unfinished } = plan;
  const kept = [
    ...keptBlocks.map((name) => `  the block of ${name} is in KV only and stays; \`podctl unblock\` lifts it`),
    ...(unreadBlocks === null ? [] : [colors.red(`  ! ${describeUnreadBlocks(unreadBlocks)}`)]),
    ...unfoundLines(unfound),
    ...moving.map((each) => `  ${each} and stays as it is until that move has ended`),
  ];
  const begun =
    unfinished === null
      ? []
      : [`${describeUnfinished(unfinished)}. If no podctl is at work on it any more, ${completing(unfinished)}.`];
  if (isEmpty(plan)) return [`No changes: ${target} is what the file says, at revision ${state}.`, ...kept];
  const { add, change, delete: deleted } = summaryOf(changes);
  return [
    `${target} is at revision ${state}.`,
    ...begun,
    ...changeLines(changes),
    ...warningLines(changes, plan.holder),
    ...kept,
    `Plan: ${counted(add, "record")} to add, ${count(change)} to change, ${count(deleted)} to delete.`,
  ];
}

const completing = ({ undone }: HistoryIndex): string =>
  undone === true
    ? "`podctl rollback` completes it, or `podctl apply` makes KV what the file says"
    : "`podctl apply` completes it";

export const describeUnreadBlocks = (why: string): string =>
  `${why}, so an apply would lift blocks that are only there; put this record back by hand, from the last \`history/\` that has it, ` +
  "or delete its key if nothing has to stay blocked, and run `podctl apply` again";

/** If the topology has an unfound assignment, an apply raises `depth`. Otherwise, the apply deletes the assignment. */
function unfoundLines(keys: readonly string[]): readonly string[] {
  const lines = keys
    .slice(0, maxShownOfKind)
    .map(
      (key) =>
        `  ${key} is deeper than the directory's \`depth\`, so the edge does not find it; an apply corrects that`,
    );
  const left = keys.length - lines.length;
  return left > 0 ? [...lines, `  and ${counted(left, "more such assignment")}`] : lines;
}

export const planJson = ({ state, changes, keptBlocks, unreadBlocks, unfound, moving, unfinished }: Plan): object => ({
  revision: state,
  summary: summaryOf(changes),
  changes: changes.map(viewOf),
  keptBlocks,
  unreadBlocks,
  unfound,
  moving,
  unfinished,
});
