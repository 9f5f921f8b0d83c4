/** The directory of a target, as the Worker's own functions read it: without a cache, and with a list of the look-ups. */
import { createDirectory, type Directory } from "../../directory/directory.ts";
import { freshValues } from "../../directory/kv.ts";
import { createIsolate } from "../../isolate.ts";
import { ok } from "../../lib/result.ts";
import type { KvStore } from "./kv-store.ts";
import type { Target } from "./target.ts";

/** One key that was looked up, and its value; null if KV has none. */
export type Lookup = { readonly key: string; readonly text: string | null };

export type TracedDirectory = { readonly directory: Directory; readonly lookups: readonly Lookup[] };

export function openDirectory({ plainHttp }: Pick<Target, "plainHttp">, kv: Pick<KvStore, "read">): TracedDirectory {
  const lookups: Lookup[] = [];
  const { parsedPods, parsedRecords } = createIsolate();
  const directory = createDirectory({
    readKv: async (keys) => {
      const values = await kv.read(keys);
      const seen = new Set(lookups.map(({ key }) => key));
      for (const key of keys) if (!seen.has(key)) lookups.push({ key, text: values.get(key) ?? null });
      return ok(freshValues(values));
    },
    plainHttp,
    parsedPods,
    parsedRecords,
  });
  return { directory, lookups };
}

/** An isolate mostly knows the depth, so that the look-ups that follow are those of such an isolate. A record that does not parse is found by them too. */
export async function learnDepth(directory: Directory): Promise<void> {
  await directory.record();
}
