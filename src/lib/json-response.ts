import { utf8 } from "./bytes.ts";

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
