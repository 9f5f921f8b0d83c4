import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { account, apiToken, type CloudflareKv, namespace } from "./cloudflare-kv.ts";

/** What makes podctl's `--env production` this server: a wrangler.toml in the folder, and the variables that name it. */
export function accountEnv(dir: string, server: Pick<CloudflareKv, "baseUrl">): Readonly<Record<string, string>> {
  const config = `name = "edge"
compatibility_date = "2026-10-23"
account_id = "${account}"
routes = [{ pattern = "registry.example.com", custom_domain = true }]
kv_namespaces = [{ binding = "DIRECTORY", id = "${namespace}" }]
`;
  const path = join(dir, "wrangler.toml");
  writeFileSync(path, config);
  return { PODCTL_WRANGLER_CONFIG: path, CLOUDFLARE_API_TOKEN: apiToken, CLOUDFLARE_BASE_URL: server.baseUrl };
}
