/**
 * Functions that add or remove whole parameters of a raw query (without the `?`), and change no byte of the others. Only the Pod knows what the query
 * of an upload means.
 */

/** One `name=value` of a query. Name and value are decoded, and `text` is the parameter as it was written. */
type Parameter = { readonly name: string; readonly value: string; readonly text: string };

/** No client sends this many parameters. Without a bound, the 16,000 parameters that fit into a URL would cost tens of milliseconds. */
export const MAX_PARAMETERS = 100;
/** A token request may have 200 scopes, each as a parameter of its own, and 100 other parameters. */
export const MAX_TOKEN_PARAMETERS = 300;

/** Whether a query or a form has more than `most` parameters. Empty parameters count too, because they take as much time. */
export const hasMoreParameters = (query: string, most: number): boolean => query.split("&", most + 1).length > most;

/**
 * Reads every parameter in its order and decodes it as servers do, even if its escapes are malformed. The whole query is decoded at once, because 200
 * calls of `URLSearchParams` would take 1 ms.
 */
export function readParameters(query: string): readonly Parameter[] {
  // `URLSearchParams` drops a leading `?`, so we add one to keep a `?` of the query itself.
  const decoded = new URLSearchParams(`?${query}`).entries();
  return query.split("&").map((text) => {
    // `URLSearchParams` skips empty parameters, so `decoded` has no entry for them.
    const [name, value]: readonly [string, string] = text === "" ? ["", ""] : (decoded.next().value ?? ["", ""]);
    return { name, value, text };
  });
}

export const valuesOf = (parameters: readonly Parameter[], wanted: string): readonly string[] =>
  parameters.filter(({ name }) => name === wanted).map(({ value }) => value);

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
