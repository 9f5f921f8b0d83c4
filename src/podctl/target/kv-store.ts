/** A KV namespace with any number of keys: an account's namespace, or that of the running stack, which has the same API. */
import { setTimeout as sleep } from "node:timers/promises";
import pMap from "p-map";
import { chunksOf } from "../../lib/collections.ts";
import { metadataOf } from "../../topology/record-text.ts";
import { CliFailure } from "../failure.ts";
import { type KvAddress, openKvApi, type Page } from "./kv-api.ts";

export type ListedKey = { readonly key: string; readonly metadata: unknown };
type KvEntry = readonly [key: string, text: string];

export type KvStore = {
  /** Pages of at most 1,000 keys, in the order of the keys. */
  list(prefix?: string): AsyncIterable<readonly ListedKey[]>;
  /** Takes any number of keys. A key that is not in KV is null. */
  read(keys: readonly string[]): Promise<ReadonlyMap<string, string | null>>;
  /** Writes at most {@link maxBulkKeys} in one call. A value is repeated in its key's metadata if it fits. */
  write(entries: readonly KvEntry[]): Promise<void>;
  /** Deletes at most {@link maxBulkKeys} in one call. */
  remove(keys: readonly string[]): Promise<void>;
};

/** The API's bounds on one call. */
export const maxBulkKeys = 10_000;
const maxReadKeys = 100;
const readsAtOnce = 4;
/** How often keys are sent if the bulk call says each time that it left them out. */
const maxRounds = 5;
const roundPauseMs = 100;

export function openKvStore(address: KvAddress): KvStore {
  const api = openKvApi(address);
  const readChunk = async (keys: string[]) => {
    const values = await api.getMany(keys);
    return keys.map((key) => [key, textOf(values[key])] as const);
  };
  return {
    async *list(prefix) {
      let cursor: string | null = null;
      do {
        const page: Page = await api.listPage(prefix, cursor);
        // KV lists an empty page where many keys were just deleted. Only the page's cursor says that there are more keys.
        if (page.keys.length > 0) yield page.keys.map(({ name, metadata }) => ({ key: name, metadata }));
        cursor = page.cursor;
      } while (cursor !== null);
    },
    async read(keys) {
      const chunks = chunksOf([...new Set(keys)], maxReadKeys);
      return new Map((await pMap(chunks, readChunk, { concurrency: readsAtOnce })).flat());
    },
    write: (entries) =>
      repeatForRest("written", new Map(entries), (left) =>
        api.putMany([...left].map(([key, value]) => ({ key, value, metadata: metadataOf(value) }))),
      ),
    remove: (keys) =>
      repeatForRest("deleted", new Map(keys.map((key) => [key, null])), (left) => api.deleteMany([...left.keys()])),
  };
}

const textOf = (value: unknown): string | null => (typeof value === "string" ? value : null);

/** Makes one bulk call, and then another call for only those keys that the first one says it left out. */
async function repeatForRest<T>(
  done: string,
  entries: ReadonlyMap<string, T>,
  call: (left: ReadonlyMap<string, T>) => Promise<readonly string[]>,
): Promise<void> {
  let left = entries;
  for (let round = 1; left.size > 0; round += 1) {
    const failed = new Set(await call(left));
    left = new Map([...left].filter(([key]) => failed.has(key)));
    if (left.size === 0) return;
    if (round === maxRounds) {
      const [first] = left.keys();
      throw new CliFailure(
        `${left.size} keys were not ${done} in ${maxRounds} tries, "${first}" among them; run the command again`,
      );
    }
    await sleep(roundPauseMs * 2 ** round);
  }
}
