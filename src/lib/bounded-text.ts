import { boundedBytes } from "./bounded-bytes.ts";

/** The whole body as text; null when it is longer. */
export async function boundedText(body: Request | Response, maxBytes: number): Promise<string | null> {
  if (body.body === null) return "";
  const bytes = await boundedBytes(body.body, maxBytes);
  return bytes === null ? null : new TextDecoder().decode(bytes);
}
