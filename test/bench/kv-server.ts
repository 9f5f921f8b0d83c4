/** An empty KV in a process of its own, so that podctl's time and memory are measured without it. It sends its address. */
import { startCloudflareKv } from "../support/cloudflare-kv.ts";

const { baseUrl } = await startCloudflareKv();
process.on("disconnect", () => process.exit());
process.send?.({ baseUrl });
