import { utf8 } from "./bytes.ts";

/** The value of a JSON text; undefined, which no JSON text means, if it is not JSON. */
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

/** A JSON answer of the edge's own. Its length is announced, so that an answer to HEAD has it too, and no cache may keep it. */
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
