import { type Directory, directoryFailure, type Pod } from "../directory/directory.ts";
import { healthKey } from "../directory/keys.ts";
import type { ReadOptions } from "../directory/kv.ts";
import { parseOnce } from "../directory/parsed-records.ts";
import { type HealthRecord, healthRecord, type StoreVerdict, verdictName } from "../directory/records.ts";
import { ok, type Result } from "../lib/result.ts";
import type { DirectoryFailure } from "../refusal.ts";
import { type SigningStore, type Store, storePlace } from "../signers/index.ts";

/** The verdicts, by Pod and `storePlace`. A store gets its first verdict only after `checksInARow` good answers in a row. */
export type StoreHealth = HealthRecord["stores"];

const noVerdicts: StoreHealth = new Map();

export const verdictAt = (health: StoreHealth, pod: Pod, place: string): StoreVerdict | null =>
  health.get(verdictName(pod.id, place)) ?? null;

/** Null if the store has no verdict yet. A store of the scheme `pod` never has one, because only the Pod knows where it redirects. */
export function verdictOf(health: StoreHealth, pod: Pod, store: Store): StoreVerdict | null {
  const place = storePlace(store);
  return place === null ? null : verdictAt(health, pod, place);
}

/** The error says why KV did not answer, or what is wrong with the record `health`. */
export async function readHealth(
  { readKv, parsedRecords }: Directory,
  options: ReadOptions = {},
): Promise<Result<StoreHealth, DirectoryFailure>> {
  const read = await readKv([healthKey], options);
  if (!read.ok) return directoryFailure(read.error);
  const text = read.value.textOf(healthKey);
  const record = parseOnce(parsedRecords.health, healthKey, { text, schema: healthRecord });
  return record.ok ? ok(record.value?.stores ?? noVerdicts) : record;
}

/** If the verdicts cannot be read, no store is `out`, because a pull must not depend on the verdicts. */
export async function healthOrNone(directory: Directory): Promise<StoreHealth> {
  const health = await readHealth(directory, { isDispensable: true });
  return health.ok ? health.value : noVerdicts;
}

export const placesOf = ({ blobs }: Pod): ReadonlyMap<string, readonly SigningStore[]> =>
  Map.groupBy(
    blobs.stores.filter((store) => store.scheme !== "pod"),
    (store) => storePlace(store) ?? "",
  );

/** Whether one of the Pod's stores is the Pod's own redirect (scheme `pod`). Such a store is not checked, so it never gets the verdict `out`. */
export const redirectsItself = ({ blobs }: Pod): boolean => blobs.stores.some(({ scheme }) => scheme === "pod");

export function whyUnchecked(pod: Pod): string | null {
  if (pod.state === "down") return "the Pod is recorded as down";
  if (placesOf(pod).size + (redirectsItself(pod) ? 1 : 0) < 2) return "the Pod has no other store";
  return pod.probe === undefined ? "the Pod's record has no probe" : null;
}
