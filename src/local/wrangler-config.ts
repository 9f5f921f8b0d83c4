/** `wrangler.toml` as wrangler itself reads it, for podctl and for the edge of the local stack. */
import { root } from "./paths.ts";

export type WorkerConfig = {
  readonly name: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: string[];
  readonly vars: Readonly<Record<string, string>>;
  /** The namespace's id for each binding's name. */
  readonly kvNamespaces: ReadonlyMap<string, string>;
  readonly accountId: string | null;
  /** The host names of the routes that lead to `/v2/`. */
  readonly hosts: readonly string[];
};

/** The part of wrangler's own type that is read here. That type does not resolve without the packages that wrangler is built from. */
type ParsedConfig = {
  readonly name?: string;
  readonly compatibility_date?: string;
  readonly compatibility_flags: string[];
  readonly vars: Readonly<Record<string, unknown>>;
  readonly kv_namespaces: readonly { readonly binding: string; readonly id?: string }[];
  readonly account_id?: string;
  readonly routes?: readonly (string | { readonly pattern: string })[];
};

/** `env` is one of the file's environments; without it the file's top level is read. */
export async function readWorkerConfig(configPath = `${root}wrangler.toml`, env?: string): Promise<WorkerConfig> {
  // Loading wrangler takes half a second, so it waits until a stack or a command needs it.
  const { unstable_readConfig } = await import("wrangler");
  // Given no name, wrangler would take the one in CLOUDFLARE_ENV.
  const args = { config: configPath, env: env ?? "" };
  const config: ParsedConfig = unstable_readConfig(args, { hideWarnings: true });
  const vars = Object.entries(config.vars).map(([name, value]) => [
    name,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  return {
    name: config.name ?? "registry-edge",
    compatibilityDate: config.compatibility_date ?? "",
    compatibilityFlags: config.compatibility_flags,
    vars: Object.fromEntries(vars),
    kvNamespaces: new Map(config.kv_namespaces.map(({ binding, id }) => [binding, id ?? binding])),
    accountId: config.account_id ?? null,
    hosts: (config.routes ?? [])
      .map((route) => (typeof route === "string" ? route : route.pattern))
      .filter(coversRegistry)
      .map(hostOf),
  };
}

/** The environments that the file has in addition to its top level. */
export async function readEnvironments(configPath = `${root}wrangler.toml`): Promise<readonly string[]> {
  const { experimental_readRawConfig } = await import("wrangler");
  const { rawConfig } = experimental_readRawConfig({ config: configPath }, { hideWarnings: true });
  return Object.keys((rawConfig as { env?: object }).env ?? {});
}

/** A route for one other path, as `/jwt/auth` on the token endpoint's host, does not make its host a registry. */
const coversRegistry = (pattern: string): boolean => /^(\w+:\/\/)?[^/]*(\/(v2\/)?\*?)?$/.test(pattern);

/** A route's pattern is a host and a path, with or without a scheme. */
const hostOf = (pattern: string): string => pattern.replace(/^\w+:\/\//, "").replace(/[:/].*$/, "");
