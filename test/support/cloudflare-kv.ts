import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import { serve } from "../../src/local/http-server.ts";
import { type ApiKv, createKvApi } from "../../src/local/workerd/kv-api.ts";

export const account = "0123456789abcdef0123456789abcdef";
export const namespace = "fedcba9876543210fedcba9876543210";
export const apiToken = "test-token";

type StoredValue = { readonly value: string; readonly metadata?: unknown };

/** A stand-in for Cloudflare's KV API: it keeps the values in a map, and has the faults that the API documents. */
export type CloudflareKv = {
  readonly baseUrl: string;
  readonly data: Map<string, StoredValue>;
  /** One line for each call, such as `PUT /bulk 3`: method, path below the namespace, number of keys in the body. */
  readonly calls: string[];
  /** Answers the next `calls` calls with 429 and this Retry-After. */
  limit(calls: number, retryAfterSeconds: number): void;
  /** Each of the next `calls` bulk calls leaves out every second key, and names these keys in its answer. */
  failHalf(calls: number): void;
  /** Each of the next `calls` pages of a listing is empty but has a cursor, as at Cloudflare after many keys were deleted. */
  emptyPages(calls: number): void;
  /**
   * Called before the `n`th key is written or deleted. After it has returned false once, `data` does not change any more, and each call that writes
   * or deletes fails.
   */
  onWrite: (n: number) => boolean;
  /** Ends all faults, and clears the counts and the list of calls. */
  heal(): void;
  stop(): Promise<void>;
};

export async function startCloudflareKv(): Promise<CloudflareKv> {
  const data = new Map<string, StoredValue>();
  const calls: string[] = [];
  const faults = { limited: 0, retryAfterSeconds: 0, halfFailed: 0, emptyPages: 0, writes: 0, cut: false };
  let sorted: readonly string[] | null = null;
  const write = (act: () => void) => {
    faults.writes += 1;
    faults.cut ||= !server.onWrite(faults.writes);
    if (faults.cut) throw new Error("cut");
    sorted = null;
    act();
  };
  const kv: ApiKv = {
    async list({ prefix = "", cursor, limit }) {
      if (faults.emptyPages > 0) {
        faults.emptyPages -= 1;
        return { keys: [], cursor: cursor ?? (prefix.slice(0, -1) || " ") };
      }
      sorted ??= [...data.keys()].sort();
      let from = cursor === undefined ? lowerBound(sorted, prefix) : lowerBound(sorted, `${cursor}\0`);
      const keys: { name: string; metadata?: unknown }[] = [];
      for (let key = sorted[from]; key?.startsWith(prefix) && keys.length < limit; key = sorted[++from]) {
        keys.push({ name: key, metadata: data.get(key)?.metadata });
      }
      const more = sorted[from]?.startsWith(prefix) ?? false;
      return more ? { keys, cursor: keys.at(-1)?.name ?? "" } : { keys };
    },
    get: async (key) => data.get(key)?.value ?? null,
    put: async (key, value, { metadata }) => write(() => data.set(key, { value, metadata })),
    delete: async (key) => write(() => data.delete(key)),
  };
  const app = new Hono();
  app.use(async (c, next) => {
    if (c.req.header("Authorization") !== `Bearer ${apiToken}`)
      return c.json(failure(10000, "Authentication error"), 403);
    const body = c.req.method === "GET" ? null : ((await c.req.raw.clone().json()) as unknown[] | { keys: unknown[] });
    const keys = body === null ? "" : ` ${(Array.isArray(body) ? body : body.keys).length}`;
    calls.push(`${c.req.method} ${c.req.path.split(`/${namespace}`)[1]}${keys}`);
    if (faults.limited > 0) {
      faults.limited -= 1;
      c.header("Retry-After", String(faults.retryAfterSeconds));
      return c.json(failure(10429, "Please wait and consider throttling your request speed"), 429);
    }
    if (faults.halfFailed > 0 && Array.isArray(body)) {
      faults.halfFailed -= 1;
      return c.json(await halfOf(body as (string | BulkEntry)[], kv));
    }
    await next();
    // `cut` means that all writes fail from now on, so a retry would fail too. This header tells the client not to try again.
    if (faults.cut) c.header("x-should-retry", "false");
    return c.res;
  });
  app.route(`/client/v4/accounts/${account}/storage/kv/namespaces/${namespace}`, createKvApi(Promise.resolve(kv)));
  const listener = getRequestListener(app.fetch);
  const { port, stop } = await serve((request, response) => void listener(request, response));
  const server: CloudflareKv = {
    baseUrl: `http://127.0.0.1:${port}/client/v4`,
    data,
    calls,
    limit: (limited, retryAfterSeconds) => Object.assign(faults, { limited, retryAfterSeconds }),
    failHalf: (halfFailed) => Object.assign(faults, { halfFailed }),
    emptyPages: (emptyPages) => Object.assign(faults, { emptyPages }),
    onWrite: () => true,
    heal: () => {
      Object.assign(faults, { limited: 0, halfFailed: 0, emptyPages: 0, writes: 0, cut: false });
      server.onWrite = () => true;
      calls.length = 0;
      sorted = null;
    },
    stop,
  };
  return server;
}

type BulkEntry = { readonly key: string; readonly value: string; readonly metadata?: unknown };

const failure = (code: number, message: string): object => ({
  success: false,
  errors: [{ code, message }],
  messages: [],
  result: null,
});

async function halfOf(entries: readonly (string | BulkEntry)[], kv: ApiKv): Promise<object> {
  const done = entries.filter((_, index) => index % 2 === 0);
  const left = entries.filter((_, index) => index % 2 === 1);
  for (const entry of done) {
    if (typeof entry === "string") await kv.delete(entry);
    else await kv.put(entry.key, entry.value, entry.metadata === undefined ? {} : { metadata: entry.metadata });
  }
  const unsuccessful_keys = left.map((entry) => (typeof entry === "string" ? entry : entry.key));
  return { success: true, errors: [], messages: [], result: { successful_key_count: done.length, unsuccessful_keys } };
}

function lowerBound(sorted: readonly string[], key: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? "") < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
