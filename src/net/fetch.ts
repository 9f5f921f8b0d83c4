import { err, ok, type Result } from "../lib/result.ts";
import type { PodFailure } from "../refusal.ts";
import { tooLongHeader } from "./headers.ts";

/** What carries a request: the platform's own `fetch`, or a binding of the deployment. */
export type Fetcher = Pick<typeof globalThis, "fetch">;

export type FetchRequest = {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: ReadableStream | string | null;
  /** The length of a streamed body, where the client announced it. */
  readonly bodyBytes: number | null;
  /** From the end of the request's body to the answer's headers; a body that moves is never cut. */
  readonly deadlineMs: number;
};

/** One call to a Pod. Its redirects are not followed. A read is sent once more if its connection broke. */
export async function fetchWithin(request: FetchRequest, fetcher: Fetcher): Promise<Result<Response, PodFailure>> {
  const first = await fetchOnce(request, fetcher);
  const isRepeatable = request.method === "GET" || request.method === "HEAD";
  // The Pod may close a kept-alive connection in the moment in which it is used again.
  return !first.ok && first.error.reason === "unreachable" && isRepeatable ? fetchOnce(request, fetcher) : first;
}

async function fetchOnce(request: FetchRequest, fetcher: Fetcher): Promise<Result<Response, PodFailure>> {
  const deadline = startDeadline(request);
  try {
    const response = await fetcher.fetch(request.url, {
      method: request.method,
      headers: request.headers,
      body: deadline.body,
      redirect: "manual",
      cache: "no-store",
      signal: deadline.signal,
    });
    const tooLong = tooLongHeader(response.headers);
    if (tooLong !== null) {
      await response.body?.cancel();
      return err({ reason: "bad-answer", text: `answered with a header "${tooLong}" of more than 16 KB` });
    }
    if (response.status >= 200 && response.status <= 599) return ok(response);
    // RFC 9110 §15: no other status can be passed on; 101 would answer an upgrade that was never asked for.
    return err({ reason: "bad-answer", text: `answered with status ${response.status}` });
  } catch (error) {
    if (deadline.signal.aborted) return err(deadline.signal.reason as PodFailure);
    return err({ reason: "unreachable", text: error instanceof Error ? error.message : "connection failed" });
  } finally {
    deadline.end();
  }
}

/** The request's body to send, and a signal that ends the call when no headers come within the deadline after that body's end. */
function startDeadline(request: FetchRequest) {
  const abort = new AbortController();
  const { body, sent } = streamBody(request);
  let timer: ReturnType<typeof setTimeout> | null = null;
  let ended = false;
  const giveUp = (failure: PodFailure) => {
    if (!ended) abort.abort(failure);
  };
  const arm = () => {
    const silent: PodFailure = { reason: "silent", text: `no answer within ${request.deadlineMs} ms` };
    if (!ended) timer = setTimeout(giveUp, request.deadlineMs, silent);
  };
  const bodyBroke: PodFailure = {
    reason: "unreachable",
    text: "connection lost before all of the request's body was sent",
  };
  if (sent === null) arm();
  else sent.then(arm, () => giveUp(bodyBroke));
  const end = () => {
    ended = true;
    if (timer !== null) clearTimeout(timer);
  };
  return { body, signal: abort.signal, end };
}

/**
 * A native pipe touches no byte of the body, and tells when it ends. An announced length stays announced. The pipe stays open when the client
 * breaks off, because workerd would write the end of an aborted pipe as the end of the body, and the Pod would take a part for the whole.
 */
function streamBody({ body, bodyBytes }: FetchRequest): {
  body: ReadableStream | string | null;
  sent: Promise<void> | null;
} {
  if (body === null || typeof body === "string") return { body, sent: null };
  const pipe = bodyBytes === null ? new IdentityTransformStream() : new FixedLengthStream(bodyBytes);
  return { body: pipe.readable, sent: body.pipeTo(pipe.writable, { preventAbort: true }) };
}
