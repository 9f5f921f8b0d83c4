/** An empty KV in a process of its own, so that KV adds nothing to podctl's time and memory. */
import { startCloudflareKv } from "../support/cloudflare-kv.ts";

const { baseUrl } = await startCloudflareKv();
process.on("disconnect", () => process.exit());
process.send?.({ baseUrl });
