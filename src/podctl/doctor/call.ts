import { boundedText } from "../../lib/read-bounded.ts";
import { err, ok, type Result } from "../../lib/result.ts";

/** What came back of one call; `text` is the body as far as it is read, and is never printed. */
export type Called = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The answerer's clock minus ours, in seconds; null if it does not say. */
  readonly aheadSeconds: number | null;
};

type Call = {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer> | string;
};

/** Null: without a token. */
export const bearer = (token: string | null): Readonly<Record<string, string>> =>
  token === null ? {} : { Authorization: `Bearer ${token}` };

const deadlineMs = 10_000;
const maxBodyBytes = 256 * 1024;

/** One call, its redirects left as they are. The error says what failed, without the URL: it may be a signed one. */
export async function call(
  url: string | URL,
  { method = "GET", headers = {}, body }: Call = {},
): Promise<Result<Called, string>> {
  try {
    const response = await fetch(url, {
      method,
      headers,
      redirect: "manual",
      signal: AbortSignal.timeout(deadlineMs),
      ...(body === undefined ? {} : { body }),
    });
    const dateMs = Date.parse(response.headers.get("Date") ?? "");
    const aheadSeconds = Number.isNaN(dateMs) ? null : Math.round((dateMs - Date.now()) / 1000);
    const text = (await boundedText(response, maxBodyBytes)) ?? "";
    return ok({ status: response.status, headers: response.headers, text, aheadSeconds });
  } catch (error) {
    return err(causeOf(error));
  }
}

function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return "failed";
  if (error.name === "TimeoutError") return `no answer within ${deadlineMs / 1000} s`;
  const { code } = Object(error.cause) as { code?: unknown };
  return typeof code === "string" ? code : "the connection failed";
}
