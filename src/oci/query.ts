/**
 * Functions for raw query strings (without the `?`). They add or remove whole parameters, and leave all others as they are, byte for byte. The query
 * of an upload belongs to the Pod, and we do not know what it means.
 */

/** One `name=value` of a query. Name and value are decoded, and `text` is the parameter as it was written. */
export type Parameter = { readonly name: string; readonly value: string; readonly text: string };

/** No client sends this many parameters. Without a bound, the 16,000 parameters that fit into a URL would cost tens of milliseconds. */
export const MAX_PARAMETERS = 100;
/** A token request has up to 200 scopes, each of which may be a parameter of its own. */
export const MAX_TOKEN_PARAMETERS = 300;

/** Whether a query or a form has more than `most` parameters. Empty parameters count, because they cost as much. */
export const hasMoreParameters = (query: string, most: number): boolean => query.split("&", most + 1).length > most;

/**
 * Reads every parameter in order and decodes it as servers do, even if its escapes are malformed. The whole query is decoded at once, because a
 * `URLSearchParams` for each of 200 parameters would cost 1 ms.
 */
export function readParameters(query: string): readonly Parameter[] {
  // URLSearchParams drops one leading question mark, so we add one for it to drop. It skips empty parameters.
  const decoded = new URLSearchParams(`?${query}`).entries();
  return query.split("&").map((text) => {
    const [name, value]: readonly [string, string] = text === "" ? ["", ""] : (decoded.next().value ?? ["", ""]);
    return { name, value, text };
  });
}

export const countParameter = (query: string, name: string): number =>
  readParameters(query).filter((each) => each.name === name).length;

/** The decoded value of a parameter's first occurrence, or null if it is absent. */
export const parameter = (query: string, name: string): string | null =>
  readParameters(query).find((each) => each.name === name)?.value ?? null;

export const withoutParameters = (query: string, names: readonly string[]): string =>
  joinParameters(readParameters(query).filter(({ name }) => !names.includes(name)));

export const joinParameters = (parameters: readonly Parameter[]): string =>
  parameters.map(({ text }) => text).join("&");

/** Adds the parameters at the end of `query`, in a form that every server reads alike. Null values are left out. */
export function withParameters(query: string, added: Readonly<Record<string, string | null>>): string {
  const segments = Object.entries(added).flatMap(([name, value]) =>
    value === null ? [] : [`${name}=${encodeURIComponent(value)}`],
  );
  return [...(query === "" ? [] : [query]), ...segments].join("&");
}
