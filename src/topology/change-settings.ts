/** Changes single settings of a group, as `podctl set` names them: `key=value`, or `key=` to remove one. Pure. */
import * as v from "valibot";
import { assignmentRecord } from "../directory/records.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { formatPath, mistakeOf } from "./mistake.ts";
import { needlessReason, settingsMistakes } from "./settings.ts";
import { parseYaml } from "./yaml.ts";

type Members = Readonly<Record<string, unknown>>;

const lists = ["clients.allow", "clients.deny"];
const conditions = ["countries", "continents", "asns", "colos", "cidrs"];
const texts = ["state", "reason", "clients.reason", "delivery", "uploads"];
const settingKeys: readonly string[] = [
  ...texts,
  "clients",
  ...lists.flatMap((list) => [list, ...conditions.map((member) => `${list}.${member}`)]),
];

/** The error says which change is wrong, or what is wrong with the settings after all changes. */
export function changeSettings(assignment: Members, changes: readonly string[]): Result<Members, string> {
  let changed: Result<Members, string> = ok(assignment);
  for (const change of changes) {
    if (changed.ok) changed = changeOne(changed.value, change);
  }
  return changed.ok ? checked(changed.value) : changed;
}

function changeOne(assignment: Members, change: string): Result<Members, string> {
  const end = change.indexOf("=");
  if (end < 1) return err(`"${change}" is not a setting; want key=value, or key= to remove the setting`);
  const [key, text] = [change.slice(0, end), change.slice(end + 1)];
  if (!settingKeys.includes(key)) return err(`"${key}" is not a setting; want one of ${settingKeys.join(", ")}`);
  const value = text === "" ? ok(undefined) : parseValue(key, text);
  if (!value.ok) return value;
  if (key === "state" && value.value !== "read-only") {
    // We drop the reason, because it explains the old state.
    const { reason: _, ...rest } = assignment;
    return ok({ ...rest, state: value.value ?? "active" });
  }
  const [first = "", list, member] = key.split(".");
  if (list === undefined) return ok(withMember(assignment, first, value.value));
  const clients = membersOf(assignment["clients"]);
  const entry = member === undefined ? value : inOnlyCondition(clients, list, { member, value: value.value });
  return entry.ok ? ok(withMember(assignment, first, filled(withMember(clients, list, entry.value)))) : entry;
}

function parseValue(key: string, text: string): Result<unknown, string> {
  if (texts.includes(key)) return ok(text);
  if (key !== "clients" && !lists.includes(key)) {
    const entries = text.split(",").map((entry) => entry.trim());
    return ok(key.endsWith(".asns") ? entries.map((entry) => (/^\d+$/.test(entry) ? Number(entry) : entry)) : entries);
  }
  const yaml = parseYaml(text);
  if (!yaml.ok) return err(`"${key}" is not YAML: ${yaml.error[0]?.text ?? text}`);
  return namesCloud(yaml.value.value)
    ? err(`"${key}" names a cloud, whose addresses only a topology file can name; change the file and apply it`)
    : ok(yaml.value.value);
}

/** Whether a condition has a member that only a topology file may have (cloud-ranges.ts). The value is a list of conditions, or has such lists. */
function namesCloud(value: unknown): boolean {
  const { allow, deny } = membersOf(value);
  const conditions = [value, allow, deny].flat().map(membersOf);
  return conditions.some((condition) => "cloud" in condition || "region" in condition);
}

type OneMember = { readonly member: string; readonly value: unknown };

/**
 * Changes one member of a list's only condition, and returns the new list. An empty list gets a condition. If the condition has no member left, the
 * result is undefined. If the list has several conditions, the result is an error, because the change does not say which of them it means.
 */
function inOnlyCondition(clients: Members, list: string, { member, value }: OneMember): Result<unknown, string> {
  const given = clients[list];
  const [only, ...others]: readonly unknown[] = Array.isArray(given) ? given : [];
  if (others.length > 0) {
    const example = `clients.${list}='[{countries: [DE]}, {cidrs: [192.0.2.0/24]}]'`;
    return err(`clients.${list} has ${others.length + 1} conditions; give them all, as in ${example}`);
  }
  const condition = filled(withMember(membersOf(only), member, value));
  return ok(condition === undefined ? undefined : [condition]);
}

const membersOf = (value: unknown): Members => (typeof value === "object" && value !== null ? { ...value } : {});
const filled = (members: Members): Members | undefined => (Object.keys(members).length === 0 ? undefined : members);

function withMember(members: Members, name: string, value: unknown): Members {
  const { [name]: _, ...rest } = members;
  return value === undefined ? rest : { ...rest, [name]: value };
}

function checked(assignment: Members): Result<Members, string> {
  // We check this before the schema does, because the schema would only say that an active group has no such member.
  if ("reason" in assignment && assignment["state"] === "active") return err(`reason: ${needlessReason}`);
  const parsed = v.safeParse(assignmentRecord, { v: 1, revision: 0, ...assignment });
  const [mistake] = parsed.success ? settingsMistakes(parsed.output) : parsed.issues.map(mistakeOf);
  return mistake === undefined ? ok(assignment) : err(`${formatPath(mistake.path)}: ${mistake.text}`);
}
