import { utf8 } from "./bytes.ts";

/** Returns the value of a JSON text, or undefined if the text is not JSON. No JSON text has the value undefined. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The members of a JSON object, or null if the text is anything else. */
export function parseJsonObject(text: string): Readonly<Record<string, unknown>> | null {
  const json = parseJson(text);
  return typeof json === "object" && json !== null && !Array.isArray(json) ? { ...json } : null;
}

/** Makes a JSON answer of the edge. We set `Content-Length`, so that an answer to HEAD has it too. No cache may keep the answer. */
export function jsonResponse(
  value: unknown,
  init: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> },
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
