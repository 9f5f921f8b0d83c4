import { build } from "esbuild";
import { root } from "../paths.ts";

/** Returns the Worker as one module. It is the same code that `wrangler deploy` ships, but not minified. */
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
