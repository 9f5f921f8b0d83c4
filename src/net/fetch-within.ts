import { err, ok, type Result } from "../lib/result.ts";
import type { FetchRequest, PodFailure } from "./fetch-request.ts";

/** One call to a Pod, its redirects left as they are. A call without effect is made once more if its connection broke. */
export async function fetchWithin(
  request: FetchRequest,
  fetcher: Pick<typeof globalThis, "fetch">,
): Promise<Result<Response, PodFailure>> {
  const first = await fetchOnce(request, fetcher);
  const repeatable = request.method === "GET" || request.method === "HEAD";
  // A connection kept alive may be closed by the Pod just as it is used again.
  return !first.ok && first.error.reason === "unreachable" && repeatable ? fetchOnce(request, fetcher) : first;
}

async function fetchOnce(
  request: FetchRequest,
  fetcher: Pick<typeof globalThis, "fetch">,
): Promise<Result<Response, PodFailure>> {
  const abort = new AbortController();
  const { body, sent } = streamBody(request);
  let timer: ReturnType<typeof setTimeout> | null = null;
  let answered = false;
  const giveUp = (failure: PodFailure) => {
    if (!answered) abort.abort(failure);
  };
  const silent: PodFailure = { reason: "silent", text: `no answer within ${request.deadlineMs} ms` };
  const arm = () => {
    if (!answered) timer = setTimeout(giveUp, request.deadlineMs, silent);
  };
  if (sent === null) arm();
  else
    sent.then(arm, () =>
      giveUp({ reason: "unreachable", text: "connection lost before all of the request's body was sent" }),
    );
  try {
    const response = await fetcher.fetch(request.url, {
      method: request.method,
      headers: request.headers,
      body,
      redirect: "manual",
      cache: "no-store",
      signal: abort.signal,
    });
    if (response.status >= 200 && response.status <= 599) return ok(response);
    // RFC 9110 §15: no other status can be passed on; 101 would be for an upgrade that nobody asked for.
    return err({ reason: "bad-answer", text: `answered with status ${response.status}` });
  } catch (error) {
    if (abort.signal.aborted) return err(abort.signal.reason as PodFailure);
    return err({ reason: "unreachable", text: error instanceof Error ? error.message : "connection failed" });
  } finally {
    answered = true;
    clearTimeout(timer);
  }
}

/**
 * A native pipe: no byte of the body is touched here, yet its end is known. An announced length stays announced. The pipe stays open when
 * the client breaks off: workerd would write the end of an aborted one as the end of the body, and the Pod take a part for the whole.
 */
function streamBody({ body, bodyBytes }: FetchRequest): {
  body: ReadableStream | string | null;
  sent: Promise<void> | null;
} {
  if (body === null || typeof body === "string") return { body, sent: null };
  const pipe = bodyBytes === null ? new IdentityTransformStream() : new FixedLengthStream(bodyBytes);
  return { body: pipe.readable, sent: body.pipeTo(pipe.writable, { preventAbort: true }) };
}
