/** Reads the parts of `wrangler.toml` that podctl and the local stack's edge need. */
import { readFile } from "node:fs/promises";
import { parse, TomlError } from "smol-toml";
import * as v from "valibot";
import { root } from "./paths.ts";

export type WorkerConfig = {
  readonly name: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: string[];
  readonly vars: Readonly<Record<string, string>>;
  /** Maps a binding's name to the id of its namespace. */
  readonly kvNamespaces: ReadonlyMap<string, string>;
  readonly accountId: string | null;
  /** The host names of the routes that lead to `/v2/`. */
  readonly hosts: readonly string[];
};

const route = v.union([v.string(), v.object({ pattern: v.string() })]);
const inherited = {
  name: v.optional(v.string()),
  compatibility_date: v.optional(v.string()),
  compatibility_flags: v.optional(v.array(v.string())),
  account_id: v.optional(v.string()),
  route: v.optional(route),
  routes: v.optional(v.array(route)),
};
const own = {
  vars: v.optional(v.record(v.string(), v.unknown()), {}),
  kv_namespaces: v.optional(v.array(v.object({ binding: v.string(), id: v.optional(v.string()) })), []),
};
const sectionSchema = v.object({ ...inherited, ...own });
const fileSchema = v.object({ ...sectionSchema.entries, env: v.optional(v.record(v.string(), sectionSchema), {}) });

/**
 * Reads the environment `env`, or the file's top level if `env` is missing. We do not use wrangler, because it takes almost a second of CPU to load.
 */
export async function readWorkerConfig(configPath = `${root}wrangler.toml`, env?: string): Promise<WorkerConfig> {
  const file = await readFileOf(configPath);
  const section = env === undefined ? file : file.env[env];
  if (section === undefined) throw new Error(`"${configPath}" has no section [env.${env}]`);
  // As in wrangler, an environment takes each missing setting from the top level, but no variables and no bindings.
  const config = { ...file, ...section };
  const vars = Object.entries(config.vars).map(([name, value]) => [
    name,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  return {
    name: config.name ?? "registry-edge",
    compatibilityDate: config.compatibility_date ?? "",
    compatibilityFlags: config.compatibility_flags ?? [],
    vars: Object.fromEntries(vars),
    kvNamespaces: new Map(config.kv_namespaces.map(({ binding, id }) => [binding, id ?? binding])),
    accountId: config.account_id ?? null,
    hosts: hostsOf([...(config.routes ?? []), ...(config.route === undefined ? [] : [config.route])]),
  };
}

/** Returns the names of the environments that the file has in addition to its top level. */
export async function readEnvironments(configPath = `${root}wrangler.toml`): Promise<readonly string[]> {
  return Object.keys((await readFileOf(configPath)).env);
}

async function readFileOf(configPath: string): Promise<v.InferOutput<typeof fileSchema>> {
  const read = v.safeParse(fileSchema, parseToml(await readFile(configPath, "utf8")));
  if (read.success) return read.output;
  const [issue] = read.issues;
  throw new Error(`${v.getDotPath(issue) ?? "file"}: want ${issue.expected ?? "another value"}`);
}

/** The parser's own message would quote the lines around the mistake, and operators write secrets into their variables. */
function parseToml(text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new Error(`line ${error.line}: ${error.message.split("\n", 1)[0]}`);
  }
}

const hostsOf = (routes: readonly v.InferOutput<typeof route>[]): readonly string[] =>
  routes.flatMap((each) => hostOf(typeof each === "string" ? each : each.pattern) ?? []);

/**
 * Returns the host name in a route's pattern, such as `https://registry.example.com/v2*`. Null if the route does not lead to `/v2/`: a host that has
 * a route only to `/jwt/auth`, for example, is not a registry. Also null if the pattern does not say the name, as in `*.example.com/*`.
 */
function hostOf(pattern: string): string | null {
  const [, host = "", path = ""] = /^(?:\w+:\/\/)?\*?([^/:]*)[^/]*(.*)$/.exec(pattern) ?? [];
  const start = path.replace(/\*$/, "");
  if (!"/v2/".startsWith(start) && !start.startsWith("/v2/")) return null;
  return host.startsWith(".") ? null : (URL.parse(`https://${host}`)?.hostname ?? null);
}
