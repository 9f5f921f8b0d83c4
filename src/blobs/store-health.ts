import type { Directory, Pod } from "../directory/directory.ts";
import { healthKey } from "../directory/keys.ts";
import { healthRecord, parseRecord, type StoreVerdict } from "../directory/records.ts";
import type { BoundedMap } from "../lib/collections.ts";
import { ok, type Result } from "../lib/result.ts";
import { type SigningStore, type Store, storePlace } from "../signers/index.ts";

/** The verdicts by Pod and place. A store without one has never answered a check. */
export type StoreHealth = ReadonlyMap<string, StoreVerdict>;

/** The verdicts by the text that they were parsed from; only the last text is remembered. */
export type ParsedHealth = BoundedMap<string, StoreHealth>;

const noVerdicts: StoreHealth = new Map();

const nameOf = (pod: string, place: string): string => `${pod} ${place}`;

export const verdictAt = (health: StoreHealth, pod: Pod, place: string): StoreVerdict | null =>
  health.get(nameOf(pod.id, place)) ?? null;

/** A store that is `pod` has no verdict, because only the Pod knows where it redirects. */
export function verdictOf(health: StoreHealth, pod: Pod, store: Store): StoreVerdict | null {
  const place = storePlace(store);
  return place === null ? null : verdictAt(health, pod, place);
}

/** The error says what is wrong with the record. Null as text: no verdict was written yet. */
export function parseHealth(text: string | null): Result<StoreHealth, string> {
  if (text === null) return ok(noVerdicts);
  const record = parseRecord(healthKey, text, healthRecord);
  return record.ok
    ? ok(new Map(record.value.stores.map((verdict) => [nameOf(verdict.pod, verdict.place), verdict])))
    : record;
}

/** A record that cannot be read takes no store out, because a pull must not depend on it. */
export async function readHealth(directory: Directory, parsed: ParsedHealth): Promise<StoreHealth> {
  const read = await directory.readKv([healthKey]);
  const text = read.ok ? read.value.textOf(healthKey) : null;
  if (text === null) return noVerdicts;
  const known = parsed.get(text);
  if (known !== undefined) return known;
  const health = parseHealth(text);
  const verdicts = health.ok ? health.value : noVerdicts;
  parsed.set(text, verdicts);
  return verdicts;
}

/** The places of a Pod's stores, each with the stores that are there. */
export const placesOf = ({ blobs }: Pod): ReadonlyMap<string, readonly SigningStore[]> =>
  Map.groupBy(
    blobs.stores.filter((store) => store.scheme !== "pod"),
    (store) => storePlace(store) ?? "",
  );

/** Whether the Pod itself may send clients to its blobs. It is never out. */
export const redirectsItself = ({ blobs }: Pod): boolean => blobs.stores.some(({ scheme }) => scheme === "pod");

/** Why the stores of this Pod are not checked; null if they are. */
export function whyUnchecked(pod: Pod): string | null {
  if (pod.state === "down") return "the Pod is recorded as down";
  if (placesOf(pod).size + (redirectsItself(pod) ? 1 : 0) < 2) return "the Pod has no other store";
  return pod.probe === undefined ? "the Pod's record has no probe" : null;
}
