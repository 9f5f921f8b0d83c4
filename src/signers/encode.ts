/** RFC 3986 §2.3: all but the unreserved characters are escaped, in upper-case hex. */
export const encodeComponent = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** Each segment by itself, slashes kept. */
export const encodePath = (path: string): string => path.split("/").map(encodeComponent).join("/");

/** Of a query, as it is. */
export type Parameter = readonly [name: string, value: string];

/** Parameters in the order given; their names are unreserved characters. */
export const encodeQuery = (parameters: readonly Parameter[]): string =>
  parameters.map(([name, value]) => `${name}=${encodeComponent(value)}`).join("&");

/** The blob's URL at a CDN, with parameters of one's own. */
export function cdnUrl(baseUrl: string, key: string, parameters: readonly Parameter[]): string {
  const url = `${baseUrl}${encodePath(`/${key}`)}`;
  return parameters.length === 0 ? url : `${url}?${encodeQuery(parameters)}`;
}

/** The URL with one more parameter at its end, whose value needs no escapes. */
export const withParameter = (url: string, name: string, value: string): string =>
  `${url}${url.includes("?") ? "&" : "?"}${name}=${value}`;
