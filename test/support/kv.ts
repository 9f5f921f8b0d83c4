import { convertV4MiniflareOptions, Miniflare } from "miniflare";

/** Workers KV as Miniflare runs it, empty. */
export async function startKv(): Promise<{ readonly kv: KVNamespace; readonly stop: () => Promise<void> }> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: true,
      script: "export default { fetch: () => new Response() }",
      compatibilityDate: "2026-10-23",
      kvNamespaces: ["DIRECTORY"],
      cf: false,
    }),
  );
  const kv = (await miniflare.getKVNamespace("DIRECTORY")) as unknown as KVNamespace;
  return { kv, stop: () => miniflare.dispose() };
}
