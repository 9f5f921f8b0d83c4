/** The directory of a target, as the Worker's own functions read it: without a cache, and with a list of the look-ups. */
import { createDirectory, type Directory } from "../../directory/directory.ts";
import { freshValues } from "../../directory/kv.ts";
import { BoundedMap } from "../../lib/collections.ts";
import { ok } from "../../lib/result.ts";
import type { KvStore } from "./kv-store.ts";
import type { Target } from "./target.ts";

/** One key that was looked up, and its value; null if KV has none. */
export type Lookup = { readonly key: string; readonly text: string | null };

export type TracedDirectory = { readonly directory: Directory; readonly lookups: readonly Lookup[] };

export function openDirectory({ plainHttp }: Pick<Target, "plainHttp">, kv: Pick<KvStore, "read">): TracedDirectory {
  const lookups: Lookup[] = [];
  const directory = createDirectory({
    readKv: async (keys) => {
      const values = await kv.read(keys);
      for (const key of keys) lookups.push({ key, text: values.get(key) ?? null });
      return ok(freshValues(values));
    },
    plainHttp,
    parsedPods: new BoundedMap(500),
  });
  return { directory, lookups };
}
