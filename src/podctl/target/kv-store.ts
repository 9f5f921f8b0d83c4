/** A KV namespace with any number of keys. It belongs to an account or to the running stack; both have the same API. */
import { setTimeout as sleep } from "node:timers/promises";
import pMap from "p-map";
import { isLoopback } from "../../lib/address.ts";
import { chunksOf } from "../../lib/collections.ts";
import { metadataOf } from "../../topology/record-text.ts";
import { CliFailure } from "../failure.ts";
import { count, note } from "../output.ts";
import { type KvAddress, openKvApi, type Page } from "./kv-api.ts";

export type ListedKey = { readonly key: string; readonly metadata: unknown };
type KvEntry = readonly [key: string, text: string];

export type KvStore = {
  /** Yields pages of at most 1,000 keys, in the order of the keys. */
  list(prefix?: string): AsyncIterable<readonly ListedKey[]>;
  /** Reads any number of keys. The value is null for a key that is not in KV. */
  read(keys: readonly string[]): Promise<ReadonlyMap<string, string | null>>;
  /**
   * Writes at most {@link maxBulkKeys} keys in one call. Throws a CliFailure instead of beginning a try after `notAfter`, because the entries may be
   * wrong by then.
   */
  write(entries: readonly KvEntry[], notAfter?: Date): Promise<void>;
  /** Deletes at most {@link maxBulkKeys} keys in one call. */
  remove(keys: readonly string[]): Promise<void>;
  /** Waits until every edge sees what has been written. */
  untilSeen(): Promise<void>;
};

/** Reads one key. Null if it is not in KV. */
export const readOne = async (kv: Pick<KvStore, "read">, key: string): Promise<string | null> =>
  (await kv.read([key])).get(key) ?? null;

/** The API's limits for one call: how many keys it may write or delete, and how many it may read. */
export const maxBulkKeys = 10_000;
const maxReadKeys = 100;
const readsAtOnce = 4;
/** A bulk call may report keys that KV did not write or delete. podctl sends these keys again, but makes at most this many calls. */
const maxRounds = 5;
const roundPauseMs = 100;
/** KV needs up to 60 s until it shows a change everywhere, and an isolate of the edge uses what it has read for 30 s. */
export const seenAfterSeconds = 90;
/** A directory with a million assignments has 1,000 pages of keys, and some more may be empty. */
const maxPages = 5_000;
const withoutEnd =
  `the KV API lists keys without end: podctl has read ${count(maxPages)} pages; ` +
  "check whether the namespace has keys of another program, and whether a proxy answers in place of the API";

export function openKvStore(address: KvAddress): KvStore {
  const api = openKvApi(address);
  const readChunk = async (keys: string[]) => {
    const values = await api.getMany(keys);
    return keys.map((key) => [key, textOf(values[key])] as const);
  };
  return {
    async *list(prefix) {
      let cursor: string | null = null;
      for (let pages = 1; ; pages += 1) {
        const page: Page = await api.listPage(prefix, cursor);
        // A page may be empty where many keys were just deleted, so only the page's cursor says whether more keys follow.
        if (page.keys.length > 0) yield page.keys.map(({ name, metadata }) => ({ key: name, metadata }));
        cursor = page.cursor;
        if (cursor === null) return;
        if (pages === maxPages) throw new CliFailure(withoutEnd);
      }
    },
    async read(keys) {
      const chunks = chunksOf([...new Set(keys)], maxReadKeys);
      return new Map((await pMap(chunks, readChunk, { concurrency: readsAtOnce })).flat());
    },
    write: (entries, notAfter) =>
      repeatForRest("written", new Map(entries), (left) =>
        api.putMany(
          [...left].map(([key, value]) => ({ key, value, metadata: metadataOf(value) })),
          notAfter,
        ),
      ),
    remove: (keys) =>
      repeatForRest("deleted", new Map(keys.map((key) => [key, null])), (left) => api.deleteMany([...left.keys()])),
    async untilSeen() {
      // The KV of the local stack or of a test has no delay.
      if (address.baseUrl !== undefined && isLoopback(new URL(address.baseUrl).hostname)) return;
      note(`waiting ${seenAfterSeconds} s, until every location of the edge knows what has been written`);
      await sleep(seenAfterSeconds * 1_000);
    },
  };
}

const textOf = (value: unknown): string | null => (typeof value === "string" ? value : null);

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
      const what = left.size === 1 ? `"${first}" was` : `${count(left.size)} keys, such as "${first}", were`;
      throw new CliFailure(`${what} not ${done} in ${maxRounds} tries`);
    }
    await sleep(roundPauseMs * 2 ** round);
  }
}
