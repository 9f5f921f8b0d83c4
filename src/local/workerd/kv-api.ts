/**
 * Serves the local stack's KV namespace by an API like Cloudflare's, so that podctl works with the stack as it does with an account. The API has only
 * the calls that podctl makes ("Workers KV": list a namespace's keys; read, write and delete many).
 */
import { Hono } from "hono";
import pMap from "p-map";
import * as v from "valibot";

/** The namespace that the API serves. Miniflare's namespaces have this type. */
export type ApiKv = {
  list(options: { prefix?: string; cursor?: string; limit: number }): Promise<ApiListing>;
  get(key: string): Promise<string | null>;
  put(key: string, value: string, options: { metadata?: unknown }): Promise<void>;
  delete(key: string): Promise<void>;
};
type ApiListing = {
  readonly keys: readonly { readonly name: string; readonly metadata?: unknown }[];
  readonly cursor?: string;
};

const maxListKeys = 1_000;
const maxReadKeys = 100;
const maxBulkKeys = 10_000;
/** We handle this many keys at once. workerd opens a file for each key, and a bulk call can have more keys than a process can open files. */
const concurrency = 32;

const keys = (max: number) => v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(max));
const readBody = v.object({ keys: keys(maxReadKeys) });
const deleteBody = keys(maxBulkKeys);
const writeBody = v.pipe(
  v.array(v.object({ key: v.string(), value: v.string(), metadata: v.optional(v.unknown()) })),
  v.minLength(1),
  v.maxLength(maxBulkKeys),
);
const listQuery = v.object({
  prefix: v.optional(v.string()),
  cursor: v.optional(v.string()),
  limit: v.pipe(v.optional(v.string(), String(maxListKeys)), v.toNumber(), v.minValue(10), v.maxValue(maxListKeys)),
});

/** Calls wait for the namespace, because the control server starts before workerd. */
export function createKvApi(whenReady: Promise<ApiKv>): Hono {
  const api = new Hono();
  api.get("/keys", async (c) => {
    const { prefix, cursor, limit } = v.parse(listQuery, c.req.query());
    const kv = await whenReady;
    const page = await kv.list({ limit, ...(prefix ? { prefix } : {}), ...(cursor ? { cursor } : {}) });
    const info = { count: page.keys.length, cursor: page.cursor ?? "" };
    return c.json({ ...success(page.keys), result_info: info });
  });
  api.post("/bulk/get", async (c) => {
    const { keys } = v.parse(readBody, await c.req.json());
    const kv = await whenReady;
    const values = await pMap(keys, async (key) => [key, await kv.get(key)] as const, { concurrency });
    return c.json(success({ values: Object.fromEntries(values) }));
  });
  api.put("/bulk", async (c) => {
    const entries = v.parse(writeBody, await c.req.json());
    const kv = await whenReady;
    const put = ({ key, value, metadata }: (typeof entries)[number]) =>
      kv.put(key, value, metadata === undefined ? {} : { metadata });
    await pMap(entries, put, { concurrency });
    return c.json(success({ successful_key_count: entries.length, unsuccessful_keys: [] }));
  });
  api.post("/bulk/delete", async (c) => {
    const keys = v.parse(deleteBody, await c.req.json());
    const kv = await whenReady;
    await pMap(keys, (key) => kv.delete(key), { concurrency });
    return c.json(success({ successful_key_count: keys.length, unsuccessful_keys: [] }));
  });
  api.onError((error, c) => {
    const code = error instanceof v.ValiError ? 400 : 500;
    return c.json({ success: false, errors: [{ code, message: error.message }], messages: [], result: null }, code);
  });
  return api;
}

const success = (result: unknown): object => ({ success: true, errors: [], messages: [], result });
