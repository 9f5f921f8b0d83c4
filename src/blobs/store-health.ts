import { type Directory, directoryFailure, type Pod } from "../directory/directory.ts";
import { healthKey } from "../directory/keys.ts";
import { parseOnce } from "../directory/parsed-records.ts";
import { type HealthRecord, healthRecord, type StoreVerdict, verdictName } from "../directory/records.ts";
import { ok, type Result } from "../lib/result.ts";
import type { DirectoryFailure } from "../refusal.ts";
import { type SigningStore, type Store, storePlace } from "../signers/index.ts";

/** The verdicts by Pod and place. A store has no verdict until it has answered several checks in a row (`checksInARow`). */
export type StoreHealth = HealthRecord["stores"];

const noVerdicts: StoreHealth = new Map();

export const verdictAt = (health: StoreHealth, pod: Pod, place: string): StoreVerdict | null =>
  health.get(verdictName(pod.id, place)) ?? null;

/** A store with the scheme `pod` has no verdict, because only the Pod knows where it redirects. */
export function verdictOf(health: StoreHealth, pod: Pod, store: Store): StoreVerdict | null {
  const place = storePlace(store);
  return place === null ? null : verdictAt(health, pod, place);
}

/** The error says why KV did not answer, or why the record `health` is wrong. */
export async function readHealth({ readKv, parsedRecords }: Directory): Promise<Result<StoreHealth, DirectoryFailure>> {
  const read = await readKv([healthKey]);
  if (!read.ok) return directoryFailure(read.error);
  const text = read.value.textOf(healthKey);
  const record = parseOnce(parsedRecords.health, healthKey, { text, schema: healthRecord });
  return record.ok ? ok(record.value?.stores ?? noVerdicts) : record;
}

/** If the verdicts cannot be read, no store is out, because a pull must not depend on them. */
export async function healthOrNone(directory: Directory): Promise<StoreHealth> {
  const health = await readHealth(directory);
  return health.ok ? health.value : noVerdicts;
}

/** Returns the places of a Pod's stores, each with the stores that are there. */
export const placesOf = ({ blobs }: Pod): ReadonlyMap<string, readonly SigningStore[]> =>
  Map.groupBy(
    blobs.stores.filter((store) => store.scheme !== "pod"),
    (store) => storePlace(store) ?? "",
  );

/** Whether the Pod may also redirect clients to its blobs by itself. The edge does not check this redirect, so it never counts as `out`. */
export const redirectsItself = ({ blobs }: Pod): boolean => blobs.stores.some(({ scheme }) => scheme === "pod");

/** Why the stores of this Pod are not checked; null if they are. */
export function whyUnchecked(pod: Pod): string | null {
  if (pod.state === "down") return "the Pod is recorded as down";
  if (placesOf(pod).size + (redirectsItself(pod) ? 1 : 0) < 2) return "the Pod has no other store";
  return pod.probe === undefined ? "the Pod's record has no probe" : null;
}
