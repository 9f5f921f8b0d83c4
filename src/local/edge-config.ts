/** The Worker as `wrangler deploy` would ship it: the same bundle, compatibility settings, variables and KV namespace. */
import { build } from "esbuild";
import { root } from "./paths.ts";

export type WorkerConfig = {
  readonly name: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: string[];
  readonly vars: Readonly<Record<string, string>>;
  /** By binding. */
  readonly kvNamespaces: ReadonlyMap<string, string>;
};

/** What is read of wrangler's own type, which does not resolve without the packages it is built from. */
type ParsedConfig = {
  readonly name?: string;
  readonly compatibility_date?: string;
  readonly compatibility_flags: string[];
  readonly vars: Readonly<Record<string, unknown>>;
  readonly kv_namespaces: readonly { readonly binding: string; readonly id?: string }[];
};

export async function readWorkerConfig(configPath = `${root}wrangler.toml`): Promise<WorkerConfig> {
  // Half a second to load: not before a stack starts.
  const { unstable_readConfig } = await import("wrangler");
  const config: ParsedConfig = unstable_readConfig({ config: configPath }, { hideWarnings: true });
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
  };
}

export async function bundleWorker(entryPoint = `${root}src/worker.ts`): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entryPoint],
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    mainFields: ["browser", "module", "main"],
    external: ["cloudflare:*", "node:*"],
    logLevel: "silent",
  });
  return outputFiles[0]?.text ?? "";
}
