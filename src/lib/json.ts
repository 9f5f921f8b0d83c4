import { utf8 } from "./bytes.ts";

/** What a text says; undefined, which JSON does not have, where it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The members of a JSON object; null for any other text. */
export function parseJsonObject(text: string): Readonly<Record<string, unknown>> | null {
  const json = parseJson(text);
  return typeof json === "object" && json !== null && !Array.isArray(json) ? { ...json } : null;
}

/** JSON of our own making: its length is announced, so that a HEAD has it too, and no cache keeps it. */
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
