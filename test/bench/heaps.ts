/** The heaps of workerd's Workers, by its inspector (Chrome DevTools Protocol, domains `HeapProfiler` and `Runtime`). */
import { setTimeout as sleep } from "node:timers/promises";

/** How long we wait for a Worker to collect its garbage. A Worker collects only while it runs, so an idle one never answers. */
const mostMsOfCollection = 10_000;
/** The inspector's id of the edge's Worker. Miniflare makes the id from the name in wrangler.toml. */
const edgeTarget = "core:user:registry-edge";

type Answer = { readonly id: number; readonly result?: { readonly usedSize?: number } };

/** Collects the garbage of all Workers that are running, and gives the bytes of the edge's heap that are left. */
export async function collectGarbage(inspector: URL): Promise<number> {
  const targets = (await (await fetch(`http://${inspector.host}/json`)).json()) as { readonly id: string }[];
  const heaps = await Promise.all(targets.map(({ id }) => collectIn(`ws://${inspector.host}/${id}`)));
  const edge = heaps[targets.findIndex(({ id }) => id === edgeTarget)];
  if (edge == null) throw new Error("the edge's Worker has not collected its garbage; it must have requests meanwhile");
  return edge;
}

/** Gives the heap's bytes after the collection. Null if the Worker has not collected in time. */
async function collectIn(url: string): Promise<number | null> {
  const socket = new WebSocket(url);
  const used = Promise.withResolvers<number>();
  const say = (id: number, method: string) => socket.send(JSON.stringify({ id, method }));
  socket.addEventListener("open", () => say(1, "HeapProfiler.collectGarbage"));
  socket.addEventListener("message", ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as Answer;
    if (id === 1) say(2, "Runtime.getHeapUsage");
    if (id === 2) used.resolve(result?.usedSize ?? Number.NaN);
  });
  const bytes = await Promise.race([used.promise, sleep(mostMsOfCollection, null, { ref: false })]);
  socket.close();
  return bytes;
}
