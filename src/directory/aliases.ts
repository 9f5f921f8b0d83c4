import * as v from "valibot";
import { isObject } from "../lib/json.ts";
import { parseRepositoryName, type RepositoryName } from "../oci/repository-name.ts";

/** The limit keeps the directory record small, because every isolate reads it twice a minute. */
export const maxAliases = 1_000;

const isNames = (input: unknown): boolean =>
  isObject(input) &&
  Object.entries(input).every((names) =>
    names.every((name) => typeof name === "string" && parseRepositoryName(name).ok),
  );

/**
 * The new names of renamed repositories, by their old names. They are in the directory record, which is read for every request for a repository
 * anyway, so no request needs another KV read to learn whether its name is an old one. We do not use `v.record`, because it would leave out a name
 * such as "constructor".
 */
export const aliases = v.pipe(
  v.custom<Readonly<Record<string, RepositoryName>>>(isNames, "repository names by repository names"),
  v.check((names) => Object.keys(names).length <= maxAliases, `at most ${maxAliases} entries`),
);

/** An old name, and the name that the repository has at its Pod. */
export type Renamed = { readonly from: RepositoryName; readonly to: RepositoryName };

type WithAliases = { readonly aliases?: v.InferOutput<typeof aliases> | undefined };

/** Returns the new name of a repository that was renamed. Null if it was not renamed. */
export function renamed(directory: WithAliases | null, name: RepositoryName): Renamed | null {
  const names = directory?.aliases;
  const to = names !== undefined && Object.hasOwn(names, name) ? names[name] : undefined;
  return to === undefined ? null : { from: name, to };
}
