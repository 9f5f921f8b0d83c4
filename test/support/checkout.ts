/** Copies this working tree. A command keeps its state in the tree where it runs, so commands in two copies share no state. */
import { cp, mkdir, symlink } from "node:fs/promises";
import { root } from "../../src/local/paths.ts";

const notCopied = [".git", ".local", "node_modules", "dist"].map((name) => root + name);

/**
 * In the copy, `node_modules` is a link to ours. Run npm there with `--ignore-scripts`, because our npm scripts would install packages into the
 * folder behind the link.
 */
export async function checkoutIn(dir: string, options: { readonly tools: boolean }): Promise<string> {
  const checkout = `${dir}/checkout`;
  await cp(root, checkout, { recursive: true, filter: (path) => !notCopied.includes(path) });
  await symlink(`${root}node_modules`, `${checkout}/node_modules`);
  await mkdir(`${checkout}/.local`);
  if (options.tools) await symlink(`${root}.local/bin`, `${checkout}/.local/bin`);
  return checkout;
}
