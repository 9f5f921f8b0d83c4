/**
 * Reads new keys in one bulk read. The request's path says how many. The bench subtracts this Worker's CPU time from the CPU time that the edge needs
 * for as many keys.
 */
type Kv = { get(keys: string[], options: { type: "text"; cacheTtl: number }): Promise<Map<string, string | null>> };

export default {
  async fetch({ url }: Request, { DIRECTORY }: { readonly DIRECTORY: Kv }): Promise<Response> {
    const count = Number(new URL(url).pathname.slice(1));
    const keys = Array.from({ length: count }, (_, index) => `route/${crypto.randomUUID()}/${index}`);
    if (keys.length > 0) await DIRECTORY.get(keys, { type: "text", cacheTtl: 30 });
    return new Response(null, { status: 204 });
  },
};
