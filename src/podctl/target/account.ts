import { root } from "../../local/paths.ts";
import { readEnvironments, readWorkerConfig, type WorkerConfig } from "../../local/wrangler-config.ts";
import { CliFailure } from "../failure.ts";
import { wantedPermission } from "./kv-api.ts";
import { type KvStore, openKvStore } from "./kv-store.ts";
import { operatorFromEnv, tokenFromEnv } from "./operator.ts";
import type { Target } from "./target.ts";

const binding = "DIRECTORY";

/** `env` selects the section [env.<name>] of wrangler.toml, as wrangler's own `--env` does. The API token comes from the environment. */
export async function openAccount(env: string): Promise<Target> {
  const configPath = process.env["PODCTL_WRANGLER_CONFIG"] || `${root}wrangler.toml`;
  const config = await readSection(configPath, env);
  return {
    name: env,
    openKv: () => openNamespace(config, `[env.${env}] of "${configPath}"`),
    auth: config.vars["AUTH"] === "none" ? "none" : "token",
    service: config.vars["SERVICE"] ?? "",
    openEdge: async (at) => {
      const [host] = config.hosts;
      const origin = at?.origin ?? (host === undefined ? null : `https://${host}`);
      if (origin === null)
        throw new CliFailure(
          `[env.${env}] of "${configPath}" has no route with the edge's host name: want --edge <url>`,
        );
      return {
        origin,
        probeToken: tokenFromEnv("PODCTL_PROBE_TOKEN"),
        user: operatorFromEnv(),
      };
    },
    defaultFile: null,
    placeholders: null,
    plainHttp: config.vars["PLAIN_HTTP"] === "allow" ? "everywhere" : "nowhere",
    seals: "checked",
    edgeHosts: config.hosts,
    realm: config.vars["REALM"] || null,
  };
}

async function readSection(configPath: string, env: string): Promise<WorkerConfig> {
  const environments = await readEnvironments(configPath).catch((error: Error) => {
    throw new CliFailure(`"${configPath}" cannot be read: ${error.message}`);
  });
  if (!environments.includes(env)) {
    const known = environments.length === 0 ? "it has none" : `it has ${environments.join(", ")}`;
    throw new CliFailure(`--env "${env}" needs a section [env.${env}] in "${configPath}"; ${known}`);
  }
  const section = await readWorkerConfig(configPath, env);
  refuseSecondNamespace(section, await readWorkerConfig(configPath), env);
  return section;
}

/**
 * Refuses a wrangler.toml that names one namespace in the section and another at its top level. A deploy without `--env` takes the top level's
 * namespace, and that Worker would never see what podctl writes.
 */
function refuseSecondNamespace(section: WorkerConfig, topLevel: WorkerConfig, env: string): void {
  const [used, other] = [namespaceOf(section), namespaceOf(topLevel)];
  if (other === null || other === used) return;
  throw new CliFailure(
    `wrangler.toml names two namespaces as ${binding}: "${used ?? "none"}" in [env.${env}] and "${other}" at its top level, ` +
      `which \`wrangler deploy\` without --env would use. Move the second one into a section of its own`,
  );
}

function openNamespace(config: WorkerConfig, place: string): KvStore {
  const account = config.accountId ?? process.env["CLOUDFLARE_ACCOUNT_ID"];
  if (!account) throw new CliFailure("no account is named: set CLOUDFLARE_ACCOUNT_ID, or account_id in wrangler.toml");
  // podctl's token may only edit KV, so it has a variable of its own. If it were in CLOUDFLARE_API_TOKEN, wrangler would use it even after a login,
  // and a deploy would fail.
  const token = tokenFromEnv("PODCTL_API_TOKEN", "CLOUDFLARE_API_TOKEN");
  if (token === null) {
    throw new CliFailure(`no API token is set: put one into PODCTL_API_TOKEN, with the permission ${wantedPermission}`);
  }
  const namespace = namespaceOf(config);
  if (namespace === null) {
    throw new CliFailure(
      `${place} has no id of the KV namespace ${binding}; \`npx wrangler kv namespace create ${binding}\` prints one`,
    );
  }
  return openKvStore({ baseUrl: apiUrl(), token, account, namespace });
}

/** The error does not show the URL, because the URL may contain a password. */
function apiUrl(): string | undefined {
  const text = process.env["CLOUDFLARE_BASE_URL"] || undefined;
  if (text === undefined || isUrlWithoutLogin(text)) return text;
  throw new CliFailure(
    "CLOUDFLARE_BASE_URL is not usable; want an http or https URL without a user name and a password, or unset it to use Cloudflare's own API",
  );
}

function isUrlWithoutLogin(text: string): boolean {
  const { protocol, username, password } = URL.parse(text) ?? {};
  return /^https?:$/.test(protocol ?? "") && !username && !password;
}

/** The id of the directory's namespace. Null if the file does not name a namespace, or has only the zeros of the template. */
function namespaceOf(config: WorkerConfig): string | null {
  const id = config.kvNamespaces.get(binding);
  return id !== undefined && /^[0-9a-f]{32}$/.test(id) && !/^0+$/.test(id) ? id : null;
}
