/** podctl as operators run it: a process of its own, against the running stack or against an account's KV API. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { account, apiToken, type CloudflareKv, namespace } from "./cloudflare-kv.ts";
import { podctlProgram } from "./podctl-program.ts";

type PodctlRun = { readonly stdout: string; readonly stderr: string; readonly code: number | null };

export async function podctl(
  args: readonly string[],
  {
    input = "",
    env = {},
  }: { readonly input?: string | Uint8Array; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<PodctlRun> {
  const child = spawn(process.execPath, [podctlProgram, ...args], {
    // A developer may have set CLOUDFLARE_ENV, which would make podctl work on a real account.
    env: { ...process.env, CLOUDFLARE_ENV: "", ...env },
  });
  child.stdin.end(input);
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once("close", resolve)),
  ]);
  return { stdout, stderr, code };
}

/** Returns the variables that make podctl's `--env production` use this server. They name a wrangler.toml, which this function writes to `dir`. */
export function accountEnv(dir: string, server: Pick<CloudflareKv, "baseUrl">): Readonly<Record<string, string>> {
  const config = `name = "edge"
compatibility_date = "2026-10-23"
account_id = "${account}"
[env.production]
routes = [{ pattern = "registry.example.com", custom_domain = true }]
kv_namespaces = [{ binding = "DIRECTORY", id = "${namespace}" }]
`;
  const path = join(dir, "wrangler.toml");
  writeFileSync(path, config);
  return { PODCTL_WRANGLER_CONFIG: path, PODCTL_API_TOKEN: apiToken, CLOUDFLARE_BASE_URL: server.baseUrl };
}
