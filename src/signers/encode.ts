/** RFC 3986 §2.3: all but the unreserved characters are escaped, in upper-case hex. */
export const encodeComponent = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** Each segment by itself, slashes kept. */
export const encodePath = (path: string): string => path.split("/").map(encodeComponent).join("/");

/** Parameters in the order given; their names are unreserved characters. */
export const encodeQuery = (parameters: readonly (readonly [name: string, value: string])[]): string =>
  parameters.map(([name, value]) => `${name}=${encodeComponent(value)}`).join("&");
