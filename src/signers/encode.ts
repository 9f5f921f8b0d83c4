/** Escapes all characters except the unreserved ones of RFC 3986 §2.3, in upper-case hexadecimal digits. */
export const encodeComponent = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** Escapes each segment of a path and keeps the slashes. */
export const encodePath = (path: string): string => path.split("/").map(encodeComponent).join("/");

/** A query parameter, unescaped. */
export type Parameter = readonly [name: string, value: string];

/** Formats the parameters as a query, in their order. Only values are escaped, so a name must consist of unreserved characters. */
export const encodeQuery = (parameters: readonly Parameter[]): string =>
  parameters.map(([name, value]) => `${name}=${encodeComponent(value)}`).join("&");

export function cdnUrl(baseUrl: string, key: string, parameters: readonly Parameter[]): string {
  const url = `${baseUrl}${encodePath(`/${key}`)}`;
  return parameters.length === 0 ? url : `${url}?${encodeQuery(parameters)}`;
}

/** The URL with one more parameter at its end. The value is not escaped. */
export const withParameter = (url: string, name: string, value: string): string =>
  `${url}${url.includes("?") ? "&" : "?"}${name}=${value}`;
