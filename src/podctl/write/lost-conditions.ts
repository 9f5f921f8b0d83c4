/**
 * Warns of changes after which more clients may use a group or push to it. A name has only the settings of its longest prefix. So if an operator adds
 * or deletes an assignment, the names below it may lose a restriction by mistake.
 */
import * as v from "valibot";
import type { ClientRules } from "../../directory/group-settings.ts";
import { kindOf, nameIn, routePrefix } from "../../directory/keys.ts";
import type { PodId } from "../../directory/pod-id.ts";
import { type AssignmentRecord, assignmentRecord } from "../../directory/records.ts";
import { parseJsonObject } from "../../lib/json.ts";
import type { Change } from "../../topology/difference.ts";
import { letsAllIn } from "../../topology/settings.ts";

export type Warning = {
  readonly line: string;
  /** What the change does, such as "open a group to every client". This becomes a part of the question that podctl asks before it writes. */
  readonly doing: string;
};

/** What names without an assignment of their own get: the assignment of a shorter prefix or, if `key` is null, the default Pod. */
type Held = { readonly key: string | null; readonly record: object };

/** Returns what applies without the assignment `key`. Null if there is neither an assignment of a shorter prefix nor a default Pod. */
export type Holder = (key: string) => Held | null;

export const holderIn =
  (recordOf: (key: string) => object | null, defaultPod: PodId | undefined): Holder =>
  (key) => {
    // We make no list of the shorter prefixes, because there may be a million assignments, and each would need its own list.
    for (let end = key.lastIndexOf("/"); end >= routePrefix.length; end = key.lastIndexOf("/", end - 1)) {
      const above = key.slice(0, end);
      const record = recordOf(above);
      if (record !== null) return { key: above, record };
    }
    return defaultPod === undefined ? null : { key: null, record: { pod: defaultPod, state: "active" } };
  };

export function lostConditions(change: Change, holder: Holder): readonly Warning[] {
  const { key, before, after } = change;
  if (kindOf(key) !== "route") return [];
  if (before === null) {
    const held = holder(key);
    if (held === null || held.key === null || !isRestricted(held.record)) return [];
    const why = `it has an assignment of its own, so the settings of ${nameIn(held.key)} do not hold for it`;
    return lossesOf(nameIn(key), { was: held.record, is: change.after, why });
  }
  const was = mayBeRestricted(before) ? parseJsonObject(before) : null;
  if (was === null) return [];
  if (after !== null) return lossesOf(nameIn(key), { was, is: after, why: "no condition is left" }).filter(isOpening);
  const held = holder(key);
  if (held === null) return [];
  const why =
    held.key === null
      ? "it has only the default Pod then, without settings"
      : `only the settings of ${nameIn(held.key)} hold for it then`;
  return lossesOf(nameIn(key), { was, is: held.record, why });
}

/** Spares us the parse of most records, which have no conditions. An apply may change a million of them. */
const mayBeRestricted = (text: string): boolean => text.includes('"clients"') || text.includes('"read-only"');

const isRestricted = (record: object): boolean =>
  "clients" in record || ("state" in record && record.state === "read-only");

type Loss = { readonly was: object; readonly is: object; readonly why: string };

function lossesOf(name: string, { was, is, why }: Loss): readonly Warning[] {
  const lost = lostFrom(was, is);
  const clients = {
    all: [{ line: `every client could use ${name}: ${why}`, doing: opening }],
    some: [{ line: `more clients could use ${name}: ${why}`, doing: "open a group to more clients" }],
    none: [],
  };
  const pushes = { line: `clients could push to ${name}: ${why}`, doing: "let clients push to a group" };
  return [...clients[lost.clients], ...(lost.readOnly ? [pushes] : [])];
}

const opening = "open a group to every client";
/**
 * If an assignment is changed, but not deleted, the operator has asked for its new settings. We still warn if they open the group to every client.
 */
const isOpening = ({ doing }: Warning): boolean => doing === opening;

type Lost = {
  /** `all`: every client may now use the group. `some`: more clients than before may use it. `none`: no more clients than before. */
  readonly clients: "all" | "some" | "none";
  /** Whether the group was read-only, and takes writes now. */
  readonly readOnly: boolean;
};

/** Returns the restrictions of the former assignment (`was`) that the new one (`is`) lacks. */
export function lostFrom(was: object, is: object): Lost {
  const [from, to] = [assignmentOf(was), assignmentOf(is)];
  // An invalid new assignment lets no client in, and the restrictions of an invalid former one never applied.
  if (from === null || to === null) return { clients: "none", readOnly: false };
  const readOnly = from.state === "read-only" && to.state !== "read-only";
  if (letsAllIn(from.clients)) return { clients: "none", readOnly };
  if (letsAllIn(to.clients)) return { clients: "all", readOnly };
  const fewer = lists.some((list) => !isOpenIn(from.clients, list) && isOpenIn(to.clients, list));
  return { clients: fewer ? "some" : "none", readOnly };
}

const lists = ["allow", "deny"] as const;

/** Whether this list on its own lets all clients in. */
const isOpenIn = (clients: ClientRules | undefined, list: (typeof lists)[number]): boolean =>
  clients?.[list] === undefined || letsAllIn({ [list]: clients[list] });

export function assignmentOf(record: object | null): AssignmentRecord | null {
  const parsed = v.safeParse(assignmentRecord, { v: 1, revision: 0, ...record });
  return parsed.success ? parsed.output : null;
}
