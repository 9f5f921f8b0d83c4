import type * as v from "valibot";

export type Path = readonly (string | number)[];

/** A mistake in a topology, at a member's value or at its name. `text` quotes the value if it may be shown. */
export type Mistake = { readonly path: Path; readonly at: "name" | "value"; readonly text: string };

/** A place in a file. The first line is 1, and the first column is 1. */
export type Position = { readonly line: number; readonly column: number };

/** A mistake for the operator: `topology.yaml:12:5: pods.pod-a.registry: "…" …; want …`. */
export type LocatedMistake = Position & { readonly file: string; readonly text: string };

export const formatMistake = ({ file, line, column, text }: LocatedMistake): string =>
  `${file}:${line}:${column}: ${text}`;

/** Formats as `pods.pod-a.keys[0]`; a name that is not a plain word is quoted. */
export const formatPath = (path: Path): string =>
  path
    .map((key) => (typeof key === "number" ? `[${key}]` : /^[\w-]+$/.test(key) ? `.${key}` : `."${shown(key)}"`))
    .join("")
    .replace(/^\./, "");

const maxQuotedCharacters = 80;
const shown = (text: string): string => {
  const open = withoutPassword(text);
  return open.length <= maxQuotedCharacters ? open : `${open.slice(0, maxQuotedCharacters)}…`;
};

/** A wrong value of these members may contain a secret, so no message shows it. */
const secretMembers = new Set<string | number>(["credentials", "value", "clientSecret", "key", "d", "k", "p", "q"]);
/** Mappings with a secret inside. An operator may have written the secret itself where the mapping should be. */
const secretMappings = new Set<string | number | undefined>(["trust", "gateway"]);

const mayHoldSecret = (path: Path): boolean =>
  path.length > 1 && (path.some((key) => secretMembers.has(key)) || secretMappings.has(path.at(-1)));

/** Returns a value as a message may show it: short, on one line, without a secret and without a URL's password. */
export function quote(value: unknown, path: Path): string {
  if (mayHoldSecret(path)) return "the value (not shown)";
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  // `JSON.stringify` would return null for infinite numbers and for NaN.
  if (typeof value === "number") return String(value);
  if (typeof value !== "string") return JSON.stringify(value);
  return JSON.stringify(shown(value));
}

/**
 * Replaces the user name and the password of a URL by `…@`. A text that is not quite a URL may have a password with any characters. So all between
 * the scheme, if there is one, and the last `@` is replaced.
 */
export const withoutPassword = (text: string): string => text.replace(/^([a-z][a-z\d+.-]*:\/\/)?.*@/is, "$1…@");

type Issue = v.BaseIssue<unknown>;

/**
 * A value may have several forms, and fit none of them. The text is then about the form whose mistake is deepest inside the value, because the
 * operator most likely meant that form.
 */
export function mistakeOf(issue: Issue): Mistake {
  const list = listForMapping(issue);
  if (list !== null) return notAMapping(list);
  const { path, issue: at } = deepestOf(issue, []);
  if (at.kind === "schema" && at.type === "strict_object" && at.expected === "never") {
    return { path, at: "name", text: "is not a member here; docs/topology.schema.json lists the members" };
  }
  if (at.kind === "schema" && at.input === undefined && at.received === "undefined" && at.path !== undefined) {
    return { path, at: "value", text: "is missing; add it" };
  }
  return { path, at: "value", text: `${quote(at.input, path)} is wrong; want ${wantedBy(at)}` };
}

/**
 * Returns the place of a list where a mapping is wanted. Valibot does not report such a list, because it reads the list as a mapping with numbers as
 * names.
 */
function listForMapping(issue: Issue): Path | null {
  const path = issue.path ?? [];
  const index = path.findIndex(
    ({ input, key }: { readonly input: unknown; readonly key: unknown }) =>
      Array.isArray(input) && typeof key === "string",
  );
  return index < 0 ? null : path.slice(0, index).map(({ key }) => key as string | number);
}

const notAMapping = (path: Path): Mistake => ({ path, at: "value", text: "a list is wrong; want a mapping" });

/** Yields one mistake for each list that valibot read as a mapping. */
export function* listsForMappings(input: unknown, output: unknown, path: Path = []): Generator<Mistake> {
  if (typeof input !== "object" || input === null || typeof output !== "object" || output === null) return;
  if (Array.isArray(input) && !Array.isArray(output)) yield notAMapping(path);
  else {
    for (const [key, value] of Object.entries(input)) {
      const name = Array.isArray(input) ? Number(key) : key;
      yield* listsForMappings(value, (output as Readonly<Record<string, unknown>>)[key], [...path, name]);
    }
  }
}

function deepestOf(issue: Issue, prefix: Path): { readonly path: Path; readonly issue: Issue } {
  const path = [...prefix, ...(issue.path ?? []).map((item) => item.key as string | number)];
  const deeper = (issue.issues ?? []).map((inner) => deepestOf(inner, path));
  const longest = deeper.reduce<(typeof deeper)[number] | null>(
    (best, one) => (best === null || one.path.length > best.path.length ? one : best),
    null,
  );
  return longest !== null && longest.path.length > path.length ? longest : { path, issue };
}

const wantedByType: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  array: "a list",
  object: "a mapping",
  strict_object: "a mapping",
  loose_object: "a mapping",
  record: "a mapping",
  integer: "a whole number",
  url: "a URL with scheme and host",
  non_empty: "text that is not empty",
};

/** If a value may have several types, valibot lists their names. These are the operator's words for those names. */
const wantedByName: Readonly<Record<string, string>> = { string: "text", Object: "a mapping", Array: "a list" };

function wantedBy(issue: Issue): string {
  if (issue.type === "regex") return `a match of ${String(issue.requirement)}`;
  if (issue.type === "max_length") return `at most ${String(issue.requirement)}`;
  const expected = (issue.expected ?? issue.message).replace(/^\((.*)\)$/, "$1").split(" | ");
  return wantedByType[issue.type] ?? expected.map((name) => wantedByName[name] ?? name).join(" or ");
}
