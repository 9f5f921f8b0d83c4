/** A copy of this working tree. Commands keep their state below their root, so two copies never share any. */
import { cp, mkdir, symlink } from "node:fs/promises";
import { root } from "../../src/local/paths.ts";

const notCopied = [".git", ".local", "node_modules", "dist"].map((name) => root + name);

/** The copy links to our npm packages. Run npm there with `--ignore-scripts`, so that it does not install into them. */
export async function checkoutIn(dir: string, options: { readonly tools: boolean }): Promise<string> {
  const checkout = `${dir}/checkout`;
  await cp(root, checkout, { recursive: true, filter: (path) => !notCopied.includes(path) });
  await symlink(`${root}node_modules`, `${checkout}/node_modules`);
  await mkdir(`${checkout}/.local`);
  if (options.tools) await symlink(`${root}.local/bin`, `${checkout}/.local/bin`);
  return checkout;
}
