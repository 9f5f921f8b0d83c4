/** podctl as a few modules. A process loads what its command needs in a third of the CPU time that the many modules of src/podctl take. */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { build } from "esbuild";
import { root } from "../../src/local/paths.ts";

/** This folder is two levels below the root, as src/podctl is, because podctl finds the root by its own path. Each test process writes it. */
const folder = `${root}.local/test`;
export const podctlProgram = `${folder}/podctl.mjs`;
const dayMs = 86_400_000;

const { outputFiles } = await build({
  entryPoints: [`${root}src/podctl/podctl.ts`],
  bundle: true,
  // Each command is a module of its own, as in src/podctl, so that a process does not load the other commands.
  splitting: true,
  outdir: folder,
  outExtension: { ".js": ".mjs" },
  write: false,
  format: "esm",
  platform: "node",
  target: "node24",
  // An ES module has no `require`, but some packages in this one call it.
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  logLevel: "warning",
});
mkdirSync(folder, { recursive: true });
for (const { path, contents } of outputFiles) {
  // Another test process may start podctl at this moment, so each file is replaced as a whole.
  const written = `${path}.${process.pid}`;
  writeFileSync(written, contents);
  renameSync(written, path);
}
// The name of a module has a hash of its text, so the modules of earlier sources are still there.
for (const name of readdirSync(folder)) {
  const path = `${folder}/${name}`;
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats !== undefined && stats.mtimeMs < Date.now() - dayMs) rmSync(path, { force: true });
}
