/** Reads a target's directory with the Worker's own functions, without a cache, and lists the look-ups. */
import { createDirectory, type Directory } from "../../directory/directory.ts";
import { freshValues } from "../../directory/kv.ts";
import { createIsolate } from "../../isolate.ts";
import { ok } from "../../lib/result.ts";
import type { KvStore } from "./kv-store.ts";
import type { Target } from "./target.ts";

/** `text` is null if KV does not have the key. */
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
    now: () => new Date(),
    plainHttp,
    parsedPods,
    parsedRecords,
  });
  return { directory, lookups };
}

/**
 * Reads the directory record, which says how many components a prefix may have (`depth`). An isolate of the Worker mostly knows the depth before a
 * request comes, and does not look up longer prefixes. After this call, podctl lists the same look-ups.
 */
export async function learnDepth(directory: Directory): Promise<void> {
  // If the record does not parse, a later look-up reports that.
  await directory.record();
}
