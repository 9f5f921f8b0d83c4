/** An empty KV in a process of its own, so that it adds nothing to podctl's time and memory. It sends its address to its parent process. */
import { startCloudflareKv } from "../support/cloudflare-kv.ts";

const { baseUrl } = await startCloudflareKv();
process.on("disconnect", () => process.exit());
process.send?.({ baseUrl });
