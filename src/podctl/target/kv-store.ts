/** A KV namespace over Cloudflare's REST API, by the official SDK: an account's, or the running stack's, which speaks the same. */
import { setTimeout as sleep } from "node:timers/promises";
import { BaseKeys } from "cloudflare/resources/kv/namespaces/keys";
import { BaseNamespaces } from "cloudflare/resources/kv/namespaces/namespaces";
import { createClient } from "cloudflare/tree-shakable";
import pMap from "p-map";
import { chunksOf } from "../../lib/collections.ts";
import { metadataOf } from "../../topology/record-text.ts";
import { CliFailure } from "../failure.ts";
import { type Answer, answerOf, createFetch } from "./kv-call.ts";

export type ListedKey = { readonly key: string; readonly metadata: unknown };
/** Key to text, as it stands in KV. */
type KvEntry = readonly [key: string, text: string];

export type KvStore = {
  /** In the order of the keys, by pages of at most 1,000. */
  list(prefix?: string): AsyncIterable<readonly ListedKey[]>;
  /** Any number of keys; null for those that are not there. */
  read(keys: readonly string[]): Promise<ReadonlyMap<string, string | null>>;
  /** At most {@link maxBulkKeys}, in one call; values are repeated in metadata where they fit. */
  write(entries: readonly KvEntry[]): Promise<void>;
  /** At most {@link maxBulkKeys}, in one call. */
  remove(keys: readonly string[]): Promise<void>;
};

type KvAddress = {
  /** Of the API, without a slash at its end; undefined for Cloudflare's own. */
  readonly baseUrl: string | undefined;
  readonly token: string;
  readonly account: string;
  readonly namespace: string;
};

/** The API's bounds on one call. */
export const maxBulkKeys = 10_000;
const maxReadKeys = 100;
const readsAtOnce = 4;
const callMs = 120_000;
/** Of one call, by the SDK: on 429 after the API's own Retry-After, on 5xx and lost connections with growing pauses. */
const maxRetries = 6;
/** Of the keys that a bulk call says it left out. */
const maxRounds = 5;
const roundPauseMs = 100;

/** Null where the API leaves it out: then all keys are done. */
type BulkResult = { readonly unsuccessful_keys?: readonly string[] } | null;
type ReadResult = { readonly values?: Readonly<Record<string, unknown>> } | null;
type ListResult = readonly { readonly name: string; readonly metadata?: unknown }[];

function openApi({ baseUrl, token }: KvAddress) {
  const client = createClient({
    resources: [BaseNamespaces, BaseKeys],
    apiToken: token,
    maxRetries,
    timeout: callMs,
    logLevel: "off",
    fetch: createFetch(),
    ...(baseUrl === undefined ? {} : { baseURL: baseUrl }),
  });
  return client.kv.namespaces;
}

export function openKvStore(address: KvAddress): KvStore {
  const namespaces = openApi(address);
  const { account: account_id, namespace } = address;
  const readOnce = async (keys: string[]) => {
    const call = namespaces.bulkGet(namespace, { account_id, keys, type: "text" });
    const { result } = await answerOf<ReadResult>(call);
    const values = result?.values ?? {};
    return keys.map((key) => [key, textOf(values[key])] as const);
  };
  return {
    async *list(prefix) {
      const query = { account_id, limit: 1_000, ...(prefix === undefined ? {} : { prefix }) };
      let cursor: string | undefined;
      do {
        const call = namespaces.keys.list(namespace, { ...query, ...(cursor === undefined ? {} : { cursor }) });
        const { result, result_info } = await answerOf<ListResult>(call);
        // Where many keys were just deleted a page may be empty, and only its cursor says that there are more.
        if (result.length > 0) yield result.map(({ name, metadata }) => ({ key: name, metadata }));
        cursor = result_info?.cursor || undefined;
      } while (cursor !== undefined);
    },
    async read(keys) {
      const chunks = chunksOf([...new Set(keys)], maxReadKeys);
      return new Map((await pMap(chunks, readOnce, { concurrency: readsAtOnce })).flat());
    },
    write: (entries) =>
      bulk("written", new Map(entries), (some) => {
        const body = [...some].map(([key, value]) => ({ key, value, metadata: metadataOf(value) }));
        return answerOf<BulkResult>(namespaces.bulkUpdate(namespace, { account_id, body }));
      }),
    remove: (keys) =>
      bulk("deleted", new Map(keys.map((key) => [key, null])), (some) =>
        answerOf<BulkResult>(namespaces.bulkDelete(namespace, { account_id, body: [...some.keys()] })),
      ),
  };
}

const textOf = (value: unknown): string | null => (typeof value === "string" ? value : null);

/** One bulk call, and again for the keys alone that it says it left out. */
async function bulk<T>(
  done: string,
  entries: ReadonlyMap<string, T>,
  call: (entries: ReadonlyMap<string, T>) => Promise<Answer<BulkResult>>,
): Promise<void> {
  let left = entries;
  for (let round = 1; left.size > 0; round += 1) {
    const failed = new Set((await call(left)).result?.unsuccessful_keys ?? []);
    left = new Map([...left].filter(([key]) => failed.has(key)));
    if (left.size === 0) return;
    if (round === maxRounds) {
      const [first] = left.keys();
      throw new CliFailure(
        `${left.size} keys were not ${done} in ${maxRounds} tries, "${first}" among them; run it again`,
      );
    }
    await sleep(roundPauseMs * 2 ** round);
  }
}
