import * as v from "valibot";
import { kindOf } from "./keys.ts";
import { directoryRecord, podRecord } from "./records.ts";

/** Members that say when a record was written, not what it says. */
export const stampMembers: ReadonlySet<string> = new Set(["v", "revision", "appliedAt", "appliedBy"]);

const ofShared = new WeakMap<object, string>();

/** Whether a record in KV says what is wanted of it. `json` is undefined for text that is no JSON, which says nothing. */
export const saysAlready = (key: string, json: unknown, wanted: object): boolean =>
  json !== undefined && contentOf(key, json) === contentOfWanted(key, wanted);

/** What a wanted record says. All routes of a Pod share one object, so it is worked out once for them. */
function contentOfWanted(key: string, record: object): string {
  const known = ofShared.get(record);
  if (known !== undefined) return known;
  const content = contentOf(key, { v: 1, revision: 0, ...record });
  ofShared.set(record, content);
  return content;
}

/** Equal for two records that say the same, however they are spelled and whenever they were written. */
export function contentOf(key: string, json: unknown): string {
  const normal = normalOf(key, json);
  if (typeof normal !== "object" || normal === null || Array.isArray(normal)) return canonical(normal);
  return canonical(Object.fromEntries(Object.entries(normal).filter(([name]) => !stampMembers.has(name))));
}

/** With the defaults of its schema; as it is, if it is of none. */
function normalOf(key: string, json: unknown): unknown {
  const kind = kindOf(key);
  if (kind !== "pod" && kind !== "directory") return json;
  const parsed = v.safeParse(kind === "pod" ? podRecord : directoryRecord, json);
  return parsed.success ? parsed.output : json;
}

/** JSON with every object's members in one order. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  members.sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join()}}`;
}
