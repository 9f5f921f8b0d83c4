export type Path = readonly (string | number)[];

/** Something wrong in a topology, at a member's value or at its name. `text` starts with the quoted value where it may be shown. */
export type Mistake = { readonly path: Path; readonly at: "name" | "value"; readonly text: string };

/** Counted from 1. */
export type Position = { readonly line: number; readonly column: number };

/** A mistake for the operator: `topology.yaml:12:5: pods.pod-a.registry: "…" …; want …`. */
export type LocatedMistake = Position & { readonly file: string; readonly text: string };

export const formatMistake = ({ file, line, column, text }: LocatedMistake): string =>
  `${file}:${line}:${column}: ${text}`;

/** `pods.pod-a.keys[0]`; a name that is no plain word stands in quotes. */
export const formatPath = (path: Path): string =>
  path
    .map((key) => (typeof key === "number" ? `[${key}]` : /^[\w-]+$/.test(key) ? `.${key}` : `."${shorten(key)}"`))
    .join("")
    .replace(/^\./, "");

const maxQuotedCharacters = 80;
const shorten = (text: string): string =>
  text.length <= maxQuotedCharacters ? text : `${text.slice(0, maxQuotedCharacters)}…`;

/** Members that hold secrets when they hold what they should not. */
const secretMembers = new Set<string | number>(["credentials", "value", "clientSecret", "d", "k", "p", "q"]);

/** A value as a message may show it: short, on one line, without a secret and without a URL's password. */
export function quote(value: unknown, path: Path): string {
  if (path.length > 1 && path.some((key) => secretMembers.has(key))) return "the value (not shown)";
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  if (typeof value !== "string") return JSON.stringify(value);
  return JSON.stringify(shorten(value.replace(/(\/\/)[^/@\s]*@/, "$1…@")));
}
