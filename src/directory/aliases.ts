import * as v from "valibot";
import { isObject } from "../lib/json.ts";
import { parseRepositoryName, type RepositoryName } from "../oci/repository-name.ts";

/** The limit keeps the directory record small, because every isolate reads that record twice a minute. */
export const maxAliases = 1_000;

const isNames = (input: unknown): boolean =>
  isObject(input) &&
  Object.entries(input).every((names) =>
    names.every((name) => typeof name === "string" && parseRepositoryName(name).ok),
  );

/**
 * Maps the old name of each renamed repository to its new name. The map is a member of the directory record, because the edge reads that record for
 * every request anyway.
 */
export const aliases = v.pipe(
  // `v.record` would leave out a name such as "constructor".
  v.custom<Readonly<Record<string, RepositoryName>>>(isNames, "repository names by repository names"),
  v.check((names) => Object.keys(names).length <= maxAliases, `at most ${maxAliases} entries`),
);

export type Renamed = { readonly from: RepositoryName; readonly to: RepositoryName };

type WithAliases = { readonly aliases?: v.InferOutput<typeof aliases> | undefined };

export function renamed(directory: WithAliases | null, name: RepositoryName): Renamed | null {
  const names = directory?.aliases;
  const to = names !== undefined && Object.hasOwn(names, name) ? names[name] : undefined;
  return to === undefined ? null : { from: name, to };
}
