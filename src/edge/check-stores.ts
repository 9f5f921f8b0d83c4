import { askForByte } from "../blobs/ask-store.ts";
import { type CheckAnswer, checksInARow, contradicted, type Judged, judgePod, turnOf } from "../blobs/judge-stores.ts";
import { signBlobUrl } from "../blobs/sign.ts";
import {
  healthOrNone,
  placesOf,
  redirectsItself,
  type StoreHealth,
  verdictAt,
  whyUnchecked,
} from "../blobs/store-health.ts";
import type { Pod } from "../directory/directory.ts";
import { blocksKey, directoryKey, healthKey, podKey } from "../directory/keys.ts";
import type { KvWriter } from "../directory/kv.ts";
import type { StoreVerdict } from "../directory/records.ts";
import { chunksOf } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Digest } from "../oci/digest.ts";
import type { Services } from "../services.ts";
import type { SigningStore } from "../signers/index.ts";

/**
 * Cloudflare's free plan allows 50 calls in one run. At most 7 of them go to KV: one reads `directory`, `blocks` and `health`, five read 100 Pods
 * each (podctl's limit is 500 Pods), and one writes `health`. With 42 checks, one call is left over.
 */
const maxChecks = 42;
const maxStores = maxChecks / checksInARow;
/** The platform allows at most this many connections that wait for headers. */
const maxConnections = 6;

/** A place where a Pod has its blobs, such as a bucket, and the stores that lead to this place. */
type PlaceToCheck = Judged & { readonly of: Pod; readonly digest: Digest; readonly stores: readonly SigningStore[] };
type PodToCheck = { readonly pod: Pod; readonly places: readonly PlaceToCheck[]; readonly size: number };

type Run = {
  readonly kv: KvWriter;
  /** Minutes since the epoch. If there are too many Pods for one run, this number decides which Pods are checked in this run. */
  readonly minute: number;
};

/** Checks the stores of Pods with more than one store: reads one byte of the Pod's probe blob. Writes the KV key `health` if a verdict changed. */
export async function checkStores(services: Services, { kv, minute }: Run): Promise<void> {
  const known = await readDirectory(services);
  if (!known.ok) return logHealth(services.now, { cause: known.error });
  const { pods, listed, health } = known.value;
  const turn = turnOf(podsToCheck(pods, health), maxStores, minute);
  const { storeCheckMs } = services.config;
  const places = turn.flatMap((pod) => pod.places);
  const changes = await contradicted(places, {
    ask: (asked) => askAll(asked, services),
    pause: () => new Promise((resolve) => setTimeout(resolve, storeCheckMs)),
  });
  if (changes.size === 0) return;
  const now = new Date();
  const verdicts = turn.flatMap((one) =>
    judgePod(one.places, changes, { redirectsItself: redirectsItself(one.pod), now }),
  );
  const before = new Set(health.values());
  const changed = verdicts.filter((verdict) => !before.has(verdict));
  if (changed.length === 0) return;
  const judged = new Set<string>(turn.map(({ pod }) => pod.id));
  const others = [...before].filter(({ pod }) => listed.has(pod) && !judged.has(pod));
  await kv.put(healthKey, JSON.stringify({ v: 1, stores: [...others, ...verdicts] }));
  for (const verdict of changed) logHealth(now, verdict);
}

const logHealth = (at: Date, told: StoreVerdict | { readonly cause: string }): void =>
  console.log(JSON.stringify({ log: "health", at: at.toISOString(), ...told }));

type Known = {
  readonly pods: readonly Pod[];
  readonly listed: ReadonlySet<string>;
  readonly health: StoreHealth;
};

/** Reads the directory and refuses outdated values, because verdicts from outdated values would overwrite newer verdicts. */
async function readDirectory({ directory }: Services): Promise<Result<Known, string>> {
  const read = await directory.readKv([directoryKey, blocksKey, healthKey], { mustBeCurrent: true });
  if (!read.ok) return read;
  const record = await directory.record();
  if (!record.ok) return err(record.error.text);
  const { pods: ids = [], default: fallback } = record.value;
  const listed = ids.length > 0 || fallback === undefined ? ids : [fallback];
  const records = await directory.readKv(listed.map(podKey), { mustBeCurrent: true });
  if (!records.ok) return records;
  const found = await Promise.all(listed.map((id) => directory.pod(id)));
  return ok({
    pods: found.flatMap((pod) => (pod.ok && pod.value !== null ? [pod.value] : [])),
    listed: new Set<string>(listed),
    // If the health record does not parse, it counts as empty, and the next change of a verdict replaces it.
    health: await healthOrNone(directory),
  });
}

const podsToCheck = (pods: readonly Pod[], health: StoreHealth): readonly PodToCheck[] =>
  pods.flatMap((pod) => {
    if (pod.probe === undefined || whyUnchecked(pod) !== null) return [];
    const { digest } = pod.probe;
    const places = [...placesOf(pod)].slice(0, maxStores).map(([place, stores]) => ({
      ...{ pod: pod.id, place, verdict: verdictAt(health, pod, place) },
      ...{ of: pod, digest, stores },
    }));
    return [{ pod, places, size: places.length }];
  });

async function askAll(places: readonly PlaceToCheck[], services: Services): Promise<readonly CheckAnswer[]> {
  const answers: CheckAnswer[] = [];
  for (const some of chunksOf(places, maxConnections)) {
    answers.push(...(await Promise.all(some.map((place) => ask(place, services)))));
  }
  return answers;
}

/** Asks one place for a byte of the probe blob. A store for which no URL can be signed is skipped, for example if its secret has expired. */
async function ask({ of: pod, digest, stores }: PlaceToCheck, services: Services): Promise<CheckAnswer> {
  const { storeCheckMs: deadlineMs, stallMs } = services.config;
  for (const store of stores) {
    const url = await signBlobUrl({ method: "GET", digest, pod, store }, services);
    if (url.ok) return askForByte(url.value, { deadlineMs, stallMs, waitUntil: services.waitUntil });
  }
  return "it cannot be signed for";
}
