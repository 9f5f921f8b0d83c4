import { nameOf } from "../oci/query.ts";

/** The one word for what answered a request. */
export type Outcome =
  | "challenged"
  | "health"
  | "ping"
  | "redirected"
  | "forwarded"
  | "streamed"
  | "merged"
  | "token"
  | "probed"
  | "blocked"
  | "refused"
  | "unavailable"
  | "failed";

/** What a request cost in look-ups and calls, counted as it goes, and what it met with on the way. */
export type Trace = {
  kvReads: number;
  podRequests: number;
  /** Why KV did not answer, where what was read of it before was served. */
  kvFailure?: string;
  /** Whence the proof came that a URL was signed by. */
  proof?: "memory" | "cache" | "manifest" | "head";
  /** Why the store before the one that serves was passed over. */
  passedOver?: string;
};

/** One request, as the log has it. Null bytes: the length was not announced (chunked), and no byte was touched to count it. */
export type RequestRecord = {
  readonly log: "edge";
  readonly at: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly outcome: Outcome;
  readonly endpoint: string;
  readonly repository?: string;
  readonly pod?: string;
  /** Why, where the answer is vague on purpose. Names keys and Pods, never a secret. */
  readonly cause?: string;
  readonly requestBytes: number | null;
  readonly responseBytes: number | null;
  readonly kvReads: number;
  readonly podRequests: number;
  readonly kvFailure?: Trace["kvFailure"];
  readonly proof?: Trace["proof"];
  readonly passedOver?: Trace["passedOver"];
  readonly ms: number;
};

/** Parameters that carry what must not be printed: a form of credentials, or the right to go on with an upload. */
const secretParameters = ["_state", "_pod", "password", "refresh_token", "access_token"];

export function redactPath(url: URL): string {
  if (url.search === "") return url.pathname;
  const query = url.search
    .slice(1)
    .split("&")
    .map((segment) => (secretParameters.includes(nameOf(segment)) ? `${nameOf(segment)}=redacted` : segment));
  return `${url.pathname}?${query.join("&")}`;
}

/** The length of a body that was announced; 0 where there is none. */
export function announcedBytes(body: ReadableStream | null, headers: Headers): number | null {
  if (body === null) return 0;
  const length = headers.get("Content-Length");
  const bytes = length !== null && /^\d+$/.test(length) ? Number(length) : Number.NaN;
  return Number.isSafeInteger(bytes) ? bytes : null;
}
