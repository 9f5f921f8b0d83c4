/**
 * Raw query strings (without the `?`) are edited by whole parameters, so that every other parameter passes byte for byte: the query of
 * an upload belongs to the Pod, and we cannot know what it means.
 */

/** The decoded name of one `name=value` of a query. */
export const nameOf = (segment: string): string => {
  const equals = segment.indexOf("=");
  // URLSearchParams decodes as servers do, malformed escapes included.
  const [first] = new URLSearchParams(equals < 0 ? segment : segment.slice(0, equals)).keys();
  return first ?? "";
};

export function countParameter(query: string, name: string): number {
  return query.split("&").filter((segment) => nameOf(segment) === name).length;
}

/** The decoded value of a parameter's first occurrence, or null if it is absent. */
export const parameter = (query: string, name: string): string | null => new URLSearchParams(query).get(name);

export function withoutParameters(query: string, names: readonly string[]): string {
  return query
    .split("&")
    .filter((segment) => !names.includes(nameOf(segment)))
    .join("&");
}

/** `query` with the parameters added at its end, in a form that every server reads alike. Null values are left out. */
export function withParameters(query: string, added: Readonly<Record<string, string | null>>): string {
  const segments = Object.entries(added).flatMap(([name, value]) =>
    value === null ? [] : [`${name}=${encodeURIComponent(value)}`],
  );
  return [...(query === "" ? [] : [query]), ...segments].join("&");
}
