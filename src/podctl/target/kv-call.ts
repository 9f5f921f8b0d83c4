/** One call of the KV API: patient while it is down, and never content with an answer that is not the API's own. */
import type { APIPromise } from "cloudflare/core/api-promise";
import { APIConnectionTimeoutError, type APIError } from "cloudflare/core/error";
import { parseJsonObject } from "../../lib/json.ts";
import { CliFailure } from "../failure.ts";
import { note } from "../output.ts";

/** The API's envelope of a result. */
export type Answer<T> = { readonly result: T; readonly result_info?: { readonly cursor?: string } };

/**
 * What the API answered. The SDK takes a page of a proxy or a refusal with status 200 for an answer without result: an empty
 * namespace, a write that was done.
 */
export async function answerOf<T>(call: Pick<APIPromise<unknown>, "asResponse">): Promise<Answer<T>> {
  const response = await call.asResponse();
  const text = await response.text();
  const body = parseJsonObject(text);
  if (body?.["success"] === true && "result" in body) return body as Answer<T>;
  const what = body === null ? "is no JSON but perhaps a proxy's page" : `is ${text.slice(0, maxShownCharacters)}`;
  throw new CliFailure(`what came back is no answer of the KV API: it ${what}`);
}

const maxShownCharacters = 300;

/** What failed, in a line. */
export function describeApiError(error: APIError): string {
  if (error.status !== undefined) return `the KV API answered: ${error.message.slice(0, maxShownCharacters)}`;
  if (error instanceof APIConnectionTimeoutError) return "the KV API did not answer in time";
  return `the KV API cannot be reached: ${causeOf(error.cause)}`;
}

/** The innermost cause knows most: `getaddrinfo ENOTFOUND api.cloudflare.com`. */
function causeOf(error: unknown): string {
  const { cause, message, code } = Object(error) as { cause?: unknown; message?: unknown; code?: unknown };
  if (cause !== undefined) return causeOf(cause);
  return [message, code].find((text) => typeof text === "string" && text !== "")?.toString() ?? "unknown error";
}

/** The API counts calls over five minutes. */
const maxRetryAfterSeconds = 300;
const noticedWaitSeconds = 5;

/**
 * For the SDK, which calls it again after failures. Whoever watches hears of the first failure of each kind, and of a long wait;
 * however long the API asks to wait, the wait has an end.
 */
export function createFetch(): typeof fetch {
  const said = new Set<string>();
  const sayOnce = (text: string) => {
    if (!said.has(text)) note(text);
    said.add(text);
  };
  return async (input, init) => {
    const response = await fetchWhole(input, init).catch((error: unknown) => {
      sayOnce(`the KV API cannot be reached: ${causeOf(error)}; trying again for a while`);
      throw error;
    });
    if (response.status >= 500) sayOnce(`the KV API answers ${response.status}; trying again for a while`);
    const seconds = Number(response.headers.get("Retry-After") ?? 0);
    if (seconds >= noticedWaitSeconds) note(`the KV API asks to wait ${seconds} s`);
    if (seconds > maxRetryAfterSeconds) response.headers.set("Retry-After", String(maxRetryAfterSeconds));
    return response;
  };
}

/** The body is read here, where the SDK still counts the time, and where a body that is cut off is a call that failed. */
async function fetchWhole(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  const response = await fetch(input, init);
  const body = await response.arrayBuffer();
  const { status } = response;
  return new Response(body.byteLength === 0 ? null : body, { status, headers: new Headers(response.headers) });
}
