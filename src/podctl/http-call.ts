import { parseJson, parseJsonObject } from "../lib/json.ts";
import { boundedText } from "../lib/read-bounded.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { tokenOf } from "../token-endpoint/answer.ts";
import type { User } from "./target/operator.ts";

/** `text` is empty if the body is longer than `maxBodyBytes`. A text may contain a secret, such as a token. */
export type Called = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The server's clock minus ours, in seconds; null if the answer has no date. */
  readonly aheadSeconds: number | null;
};

type Call = {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A stream is sent without a Content-Length. */
  readonly body?: Uint8Array<ArrayBuffer> | string | ReadableStream;
  /** The longest time from the request to the end of the answer's body. */
  readonly deadlineMs?: number;
  readonly maxBodyBytes?: number;
};

export const bearer = (token: string | null): Readonly<Record<string, string>> =>
  token === null ? {} : { Authorization: `Bearer ${token}` };

export const basic = (user: User | null): Readonly<Record<string, string>> =>
  user === null ? {} : { Authorization: `Basic ${Buffer.from(`${user.name}:${user.password}`).toString("base64")}` };

/** Whether this is the answer of an edge or a gateway to `/-/health`. Other servers may answer every path with 200 and a page. */
export const isHealthy = ({ status, text }: Called): boolean =>
  status === 200 && parseJsonObject(text)?.["status"] === "ok";

/** Returns the status of an answer, or what failed if there is no answer. */
export const answerOf = (answer: Result<Called, string>): number | string =>
  answer.ok ? answer.value.status : answer.error;

/** Returns the token in the answer of a token service. Null if there is none, or if the status is not 200. */
export const tokenIn = ({ status, text }: Called): string | null =>
  (status === 200 && tokenOf(parseJson(text))) || null;

/**
 * Returns the error code in an answer of S3 or Azure, or an empty text. We print nothing else of such an answer, because it may repeat parts of the
 * signed URL.
 */
export const storageError = ({ text }: Called): string => /<Code>([A-Za-z0-9.]{1,60})<\/Code>/.exec(text)?.[1] ?? "";

/** Makes one call, and follows no redirect. The error says what failed, but not the URL, because a signed URL must not be printed. */
export async function call(url: string | URL, options: Call = {}): Promise<Result<Called, string>> {
  const { method = "GET", headers = {}, body, deadlineMs = 10_000, maxBodyBytes = 256 * 1024 } = options;
  try {
    const response = await fetch(url, {
      method,
      headers,
      redirect: "manual",
      signal: AbortSignal.timeout(deadlineMs),
      ...(body === undefined ? {} : { body, duplex: "half" }),
    });
    const aheadSeconds = aheadSecondsOf(response.headers);
    const text = (await boundedText(response, maxBodyBytes)) ?? "";
    return ok({ status: response.status, headers: response.headers, text, aheadSeconds });
  } catch (error) {
    if (error instanceof Error && error.name === "TimeoutError") return err(`no answer within ${deadlineMs / 1000} s`);
    return err(codeOf(error) ?? "the connection failed");
  }
}

/** A cache keeps the `Date` of the answer that it has stored, and says in `Age` how old this answer is (RFC 9111 §4.2.3). */
function aheadSecondsOf(headers: Headers): number | null {
  const dateMs = Date.parse(headers.get("Date") ?? "");
  const ageSeconds = Number(/^\d+/.exec(headers.get("Age") ?? "")?.[0] ?? 0);
  return Number.isNaN(dateMs) ? null : Math.round((dateMs - Date.now()) / 1000) + ageSeconds;
}

/** Returns a code such as `ECONNREFUSED`. fetch wraps the error that has the code in another error, which says only "fetch failed". */
function codeOf(error: unknown): string | null {
  const { cause, code } = Object(error) as { readonly cause?: unknown; readonly code?: unknown };
  if (cause !== undefined) return codeOf(cause);
  return typeof code === "string" ? code : null;
}
