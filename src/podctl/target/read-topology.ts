import { type LoadedTopology, loadTopology } from "../../topology/load.ts";
import { formatMistake, type LocatedMistake } from "../../topology/mistake.ts";
import { CliFailure } from "../failure.ts";
import { count, counted, startProgress } from "../output.ts";
import type { Target } from "./target.ts";

const maxShown = 20;

type NamedTopology = { readonly file: string; readonly topology: LoadedTopology };

export async function readTopology(file: string | undefined, target: Target): Promise<NamedTopology> {
  const path = file ?? target.defaultFile;
  if (path === null) throw new CliFailure("no topology file is given; name one, as in `podctl plan topology.yaml`");
  const progress = startProgress("assignments read", null);
  const topology = await loadTopology(path, { ...target, onProgress: (lines) => progress.advance(lines) });
  progress.end();
  if (!topology.ok) throw new CliFailure(describe(path, topology.error));
  return { file: path, topology: topology.value };
}

function describe(path: string, mistakes: readonly LocatedMistake[]): string {
  const lines = mistakes.slice(0, maxShown).map(formatMistake);
  const left = mistakes.length - lines.length;
  if (mistakes.length > 1) lines.unshift(`${path} has ${counted(mistakes.length, "mistake")}:`);
  return [...lines, ...(left > 0 ? [`and ${count(left)} more`] : [])].join("\n");
}
