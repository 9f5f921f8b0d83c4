/** A process of its own with the KV of a bench: says its address, then fills itself with as many assignments as it is told, or with nothing. */
import { metadataOf } from "../../src/topology/metadata.ts";
import { recordText } from "../../src/topology/record-text.ts";
import { topologyRecords } from "../../src/topology/topology.ts";
import { startCloudflareKv } from "../support/cloudflare-kv.ts";
import { benchTopology } from "./assignments.ts";

const server = await startCloudflareKv();
process.on("message", ({ assignments }: { readonly assignments: number | null }) => {
  server.data.clear();
  server.heal();
  if (assignments !== null) {
    const stamp = { revision: 1, appliedAt: new Date(0) };
    for (const [key, record] of topologyRecords(benchTopology(assignments))) {
      const value = recordText(key, record, stamp);
      server.data.set(key, { value, metadata: metadataOf(value) });
    }
  }
  process.send?.({ filled: server.data.size });
});
process.on("disconnect", () => process.exit());
process.send?.({ baseUrl: server.baseUrl });
