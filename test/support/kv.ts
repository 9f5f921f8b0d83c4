import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import type { BulkKv } from "../../src/directory/kv.ts";

type TestKv = BulkKv & {
  put(key: string, value: string): Promise<void>;
  delete(key: string): Promise<void>;
  list(): Promise<{ keys: { name: string }[] }>;
};

/** Workers KV as Miniflare runs it, empty. */
export async function startKv(): Promise<{ readonly kv: TestKv; readonly stop: () => Promise<void> }> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: true,
      script: "export default { fetch: () => new Response() }",
      compatibilityDate: "2026-10-23",
      kvNamespaces: ["DIRECTORY"],
      cf: false,
    }),
  );
  const kv = (await miniflare.getKVNamespace("DIRECTORY")) as unknown as TestKv;
  return { kv, stop: () => miniflare.dispose() };
}
