/** podctl as one module. A process loads it in half of the CPU time that the many modules of src/podctl take. */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { build } from "esbuild";
import { root } from "../../src/local/paths.ts";

/** Each test process writes this file. It is two levels below the root, as src/podctl/podctl.ts is, because podctl finds the root by its own path. */
export const podctlProgram = `${root}.local/test/podctl.mjs`;

const { outputFiles } = await build({
  entryPoints: [`${root}src/podctl/podctl.ts`],
  bundle: true,
  write: false,
  format: "esm",
  platform: "node",
  target: "node24",
  // Some packages are CommonJS modules, which call `require`.
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  logLevel: "warning",
});
mkdirSync(`${root}.local/test`, { recursive: true });
// Another test process may start podctl at this moment, so the file is replaced as a whole.
const written = `${podctlProgram}.${process.pid}`;
writeFileSync(written, outputFiles[0]?.contents ?? "");
renameSync(written, podctlProgram);
