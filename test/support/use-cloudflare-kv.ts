import { afterAll, beforeEach } from "vitest";
import { type KvStore, openKvStore } from "../../src/podctl/target/kv-store.ts";
import { account, apiToken, type CloudflareKv, namespace, startCloudflareKv } from "./cloudflare-kv.ts";

export async function useCloudflareKv(): Promise<{ readonly server: CloudflareKv; readonly kv: KvStore }> {
  const server = await startCloudflareKv();
  afterAll(() => server.stop());
  beforeEach(() => {
    server.data.clear();
    server.heal();
  });
  return { server, kv: openKvStore({ baseUrl: server.baseUrl, token: apiToken, account, namespace }) };
}
