import type { Brand } from "../lib/brand.ts";
import { err, ok, type Result } from "../lib/result.ts";

/** The whole `<name>` of the distribution spec, with its slashes. Only {@link parseRepositoryName} makes one. */
export type RepositoryName = Brand<string, "RepositoryName">;

/** The first components of a name, at most {@link MAX_PREFIX_COMPONENTS}. The operator assigns prefixes to Pods. */
export type Prefix = Brand<string, "Prefix">;

/** Distribution's limit for a name. Many clients even limit host and name together to 255 characters (OCI distribution spec, "Pulling manifests"). */
const MAX_NAME_CHARACTERS = 255;

/** GitLab nests groups up to 20 deep. A look-up reads one KV key for each prefix, and this limit keeps it within one bulk read (100 keys). */
export const MAX_PREFIX_COMPONENTS = 20;

// OCI distribution spec, "Pulling manifests": the grammar of <name>.
const alphanumeric = "[a-z0-9]+";
const separator = "(?:\\.|_|__|-+)";
const component = `${alphanumeric}(?:${separator}${alphanumeric})*`;
const nameGrammar = new RegExp(`^${component}(?:/${component})*$`);

export function parseRepositoryName(text: string): Result<RepositoryName, string> {
  if (text === "") return err("repository name is empty; want lower-case components separated by single slashes");
  if (text.length > MAX_NAME_CHARACTERS) {
    return err(`repository name has ${text.length} characters; want at most ${MAX_NAME_CHARACTERS}`);
  }
  if (nameGrammar.test(text)) return ok(text as RepositoryName);
  const why = nameGrammar.test(text.toLowerCase()) ? "has upper-case letters" : "is not canonical";
  return err(`repository name "${text}" ${why}; want lower-case components separated by single slashes`);
}

export function parsePrefix(text: string): Result<Prefix, string> {
  const name = parseRepositoryName(text);
  if (!name.ok) return err(name.error.replace("repository name", "prefix"));
  const components = text.split("/").length;
  if (components <= MAX_PREFIX_COMPONENTS) return ok(text as Prefix);
  return err(`prefix "${text}" has ${components} components; want at most ${MAX_PREFIX_COMPONENTS}`);
}

/**
 * Returns the prefixes of a name that have at most `maxComponents` components, longest first. A prefix ends where a component ends: `acme` is a
 * prefix of `acme/app` and not of `acmecorp`.
 */
export function prefixesOf(name: RepositoryName, maxComponents = MAX_PREFIX_COMPONENTS): readonly Prefix[] {
  const prefixes: Prefix[] = [];
  for (let end = 0; end >= 0 && prefixes.length < maxComponents; ) {
    end = name.indexOf("/", end + 1);
    prefixes.push((end < 0 ? name : name.slice(0, end)) as Prefix);
  }
  return prefixes.reverse();
}

export const componentsOf = (prefix: Prefix): number => prefix.split("/").length;
