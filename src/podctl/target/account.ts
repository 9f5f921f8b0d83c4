import { root } from "../../local/paths.ts";
import { readEnvironments, readWorkerConfig, type WorkerConfig } from "../../local/wrangler-config.ts";
import { CliFailure } from "../failure.ts";
import { type KvStore, openKvStore } from "./kv-store.ts";
import { operatorFromEnv, type Target } from "./target.ts";

/** What wrangler.toml is at its top level. */
const topLevel = "production";
const binding = "DIRECTORY";

/** Account and namespace are wrangler.toml's, the token is the environment's, as for wrangler itself. */
export async function openAccount(env: string): Promise<Target> {
  const configPath = process.env["PODCTL_WRANGLER_CONFIG"] ?? `${root}wrangler.toml`;
  const environments = await readEnvironments(configPath).catch((error: Error) => {
    throw new CliFailure(`"${configPath}" cannot be read: ${error.message}`);
  });
  if (!environments.includes(env) && env !== topLevel) {
    throw new CliFailure(
      `--env "${env}" is not in wrangler.toml; want one of ${[topLevel, ...environments].join(", ")}`,
    );
  }
  const config = await readWorkerConfig(configPath, environments.includes(env) ? env : undefined);
  return {
    name: env,
    openKv: () => openNamespace(config, env),
    auth: config.vars["AUTH"] === "none" ? "none" : "token",
    openEdge: async (at) => {
      const [host] = config.hosts;
      const origin = at?.origin ?? (host === undefined ? null : `https://${host}`);
      if (origin === null) throw new CliFailure(`wrangler.toml names no route for "${env}": want --edge <url>`);
      return {
        origin,
        probeToken: process.env["PODCTL_PROBE_TOKEN"] ?? null,
        user: operatorFromEnv(),
      };
    },
    defaultFile: null,
    placeholders: null,
    plainHttp: config.vars["PLAIN_HTTP"] === "allow" ? "everywhere" : "nowhere",
    seals: "checked",
    edgeHosts: config.hosts,
  };
}

function openNamespace(config: WorkerConfig, env: string): KvStore {
  const account = config.accountId ?? process.env["CLOUDFLARE_ACCOUNT_ID"];
  if (!account) throw new CliFailure("no account: set account_id in wrangler.toml or CLOUDFLARE_ACCOUNT_ID");
  const token = process.env["CLOUDFLARE_API_TOKEN"];
  if (!token) throw new CliFailure("no API token: set CLOUDFLARE_API_TOKEN to one that may edit Workers KV");
  const namespace = namespaceOf(config, env);
  return openKvStore({ baseUrl: process.env["CLOUDFLARE_BASE_URL"], token, account, namespace });
}

/** wrangler.toml comes with ids that are none. */
function namespaceOf(config: WorkerConfig, env: string): string {
  const id = config.kvNamespaces.get(binding);
  if (id !== undefined && /^[0-9a-f]{32}$/.test(id) && !/^0*1?$/.test(id)) return id;
  throw new CliFailure(
    `wrangler.toml has no id of the KV namespace ${binding} for "${env}"; ` +
      `\`npx wrangler kv namespace create ${binding}\` prints one`,
  );
}
