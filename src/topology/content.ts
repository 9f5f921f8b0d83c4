import * as v from "valibot";
import { kindOf } from "../directory/keys.ts";
import { directoryRecord, podRecord } from "../directory/records.ts";
import { BoundedMap } from "../lib/collections.ts";

/** Members that say when a record was written, not what it says. */
export const stampMembers: ReadonlySet<string> = new Set(["v", "revision", "appliedAt", "appliedBy"]);

/** A record as it stands in KV. `json` is its text parsed, undefined for text that is no JSON. */
export type LiveRecord = { readonly key: string; readonly text: string; readonly json: unknown };

const ofShared = new WeakMap<object, string>();
/** Routes of one Pod that were written together are one text. */
const ofRouteText = new BoundedMap<string, string>(1_000);

/** Whether a record in KV says what is wanted of it. Text that is no JSON says nothing. */
export const saysAlready = (live: LiveRecord, wanted: object): boolean =>
  live.json !== undefined && contentOfLive(live) === contentOfWanted(live.key, wanted);

function contentOfLive({ key, text, json }: LiveRecord): string {
  if (kindOf(key) !== "route") return contentOf(key, json);
  const known = ofRouteText.get(text);
  if (known !== undefined) return known;
  const content = contentOf(key, json);
  ofRouteText.set(text, content);
  return content;
}

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
