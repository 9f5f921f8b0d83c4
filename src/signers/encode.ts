/** Escapes all characters except the unreserved ones (RFC 3986 §2.3), with upper-case hexadecimal digits. */
export const encodeComponent = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

export const encodePath = (path: string): string => path.split("/").map(encodeComponent).join("/");

/** A query parameter, unescaped. */
export type Parameter = readonly [name: string, value: string];

/** Only values are escaped, so a name must consist of unreserved characters. */
export const encodeQuery = (parameters: readonly Parameter[]): string =>
  parameters.map(([name, value]) => `${name}=${encodeComponent(value)}`).join("&");

export function cdnUrl(baseUrl: string, key: string, parameters: readonly Parameter[]): string {
  const url = `${baseUrl}${encodePath(`/${key}`)}`;
  return parameters.length === 0 ? url : `${url}?${encodeQuery(parameters)}`;
}

/** The caller must have escaped the value. */
export const withParameter = (url: string, name: string, value: string): string =>
  `${url}${url.includes("?") ? "&" : "?"}${name}=${value}`;
