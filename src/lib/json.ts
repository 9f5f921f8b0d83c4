import { utf8 } from "./bytes.ts";

/** Returns the value of a JSON text, or undefined if the text is not JSON. No JSON text has the value undefined. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Returns the members of a JSON object. Null if the text is anything else. */
export function parseJsonObject(text: string): Readonly<Record<string, unknown>> | null {
  const json = parseJson(text);
  return isObject(json) ? { ...json } : null;
}

/** Whether a JSON value is an object. Arrays and null are not. */
export const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const isText = (value: unknown): value is string => typeof value === "string";

/** Whether a JSON value is an object whose members are all texts. */
export const isTexts = (value: unknown): value is Readonly<Record<string, string>> =>
  isObject(value) && Object.values(value).every(isText);

/** Makes an answer in JSON that no cache may keep. We set `Content-Length`, so that an answer to HEAD has it too. */
export function jsonResponse(
  value: unknown,
  init: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> } = {},
): Response {
  const bytes = utf8(JSON.stringify(value));
  return new Response(bytes, {
    status: init.status ?? 200,
    headers: {
      "Content-Type": "application/json",
      "Content-Length": String(bytes.byteLength),
      "Cache-Control": "no-store",
      ...init.headers,
    },
  });
}
