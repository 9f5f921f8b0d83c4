/** The directory as it is in KV: from a listing, for each value is repeated in its key's metadata where it fits. */
import { createHash } from "node:crypto";
import { directoryKey, historyPrefix, kindOf } from "../../directory/keys.ts";
import { type DirectoryRecord, directoryRecord, parseRecord } from "../../directory/records.ts";
import { parseJson } from "../../lib/json.ts";
import type { LiveRecord } from "../../topology/content.ts";
import { orFail } from "../failure.ts";
import type { KvStore, ListedKey } from "../target/kv-store.ts";

export type LiveDirectory = {
  /** The directory record; null before the first apply. */
  readonly settings: DirectoryRecord | null;
  /** The same as it stands in KV. */
  readonly settingsText: string | null;
  /** Revision and fingerprint of all that was listed: equal for equal KV. */
  readonly state: string;
};

/** Shows every record to `see`, in the order of keys and by pages. */
export async function readLive(
  kv: KvStore,
  see: (records: readonly LiveRecord[]) => void,
  onProgress: (keys: number) => void,
): Promise<LiveDirectory> {
  const hash = createHash("sha256");
  let settingsText: string | null = null;
  for await (const page of kv.list()) {
    const records = await recordsOf(kv, page);
    see(records);
    settingsText ??= records.find(({ key }) => key === directoryKey)?.text ?? null;
    hash.update(records.map(({ key, text }) => `${key}\n${text}\n`).join(""));
    onProgress(page.length);
  }
  const settings = settingsText === null ? null : parseSettings(settingsText);
  return { settings, settingsText, state: `${settings?.revision ?? 0}-${hash.digest("hex").slice(0, 12)}` };
}

export const parseSettings = (text: string): DirectoryRecord =>
  orFail(parseRecord(directoryKey, text, directoryRecord));

/** Values are read only where the listing has none. */
async function recordsOf(kv: KvStore, page: readonly ListedKey[]): Promise<readonly LiveRecord[]> {
  const listed = page.filter(({ key }) => !key.startsWith(historyPrefix) && kindOf(key) !== null);
  const unseen = listed.filter(({ metadata }) => !isRecord(metadata)).map(({ key }) => key);
  const read = unseen.length === 0 ? new Map<string, string | null>() : await kv.read(unseen);
  return listed.flatMap(({ key, metadata }): LiveRecord[] => {
    if (isRecord(metadata)) return [{ key, text: JSON.stringify(metadata), json: metadata }];
    const text = read.get(key) ?? null;
    // Deleted since it was listed.
    return text === null ? [] : [{ key, text, json: parseJson(text) }];
  });
}

/** Whoever writes without podctl may keep other things there. */
const isRecord = (metadata: unknown): metadata is object =>
  typeof metadata === "object" && metadata !== null && "v" in metadata;
