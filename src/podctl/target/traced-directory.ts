/** A target's KV read by the Worker's own functions, uncached, with a note of what was looked up. */
import { createDirectory, type Directory } from "../../directory/directory.ts";
import { freshValues } from "../../directory/kv.ts";
import { BoundedMap } from "../../lib/collections.ts";
import { ok } from "../../lib/result.ts";
import type { KvStore } from "./kv-store.ts";
import type { Target } from "./target.ts";

/** One look-up: its key, and the text if there was one. */
export type Lookup = { readonly key: string; readonly text: string | null };

export type TracedDirectory = { readonly directory: Directory; readonly lookups: readonly Lookup[] };

export function openDirectory(target: Pick<Target, "plainHttp">, kv: Pick<KvStore, "read">): TracedDirectory {
  const plainHttp = target.plainHttp === "nowhere" ? "refuse" : "allow";
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
