/** Finds programs that do not come from npm: `npm run tools` puts them into `.local/bin`, Debian puts them into PATH. */
import { accessSync, constants } from "node:fs";
import { delimiter } from "node:path";
import { root } from "../paths.ts";
import { StartFailure } from "../start-failure.ts";

/** Returns the path of each program, in order. Throws one line that names all missing programs. */
export function findBinaries<const Names extends readonly string[]>(names: Names): { [Index in keyof Names]: string } {
  const found = names.map(findBinary);
  const missing = names.filter((_, index) => found[index] === null);
  if (missing.length > 0) {
    throw new StartFailure(`Not installed: ${missing.join(", ")}. \`npm run tools\` gets what it can.`);
  }
  return found as { [Index in keyof Names]: string };
}

function findBinary(name: string): string | null {
  const folders = [`${root}.local/bin`, ...(process.env["PATH"] ?? "").split(delimiter)];
  return folders.map((folder) => `${folder}/${name}`).find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
