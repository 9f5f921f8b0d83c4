import { boundedBytes } from "../lib/read-bounded.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { isRead } from "../oci/scope.ts";
import type { PodFailure } from "../refusal.ts";
import { tooLongHeader } from "./headers.ts";
import { type Ping, watchService } from "./lost-write.ts";
import { type BodyEnd, countBytes, moveBody, openPipe } from "./move-body.ts";
import { failureOfCloudflare } from "./outage.ts";
import { within } from "./within.ts";

/** What carries a request: the platform's own `fetch`, or a binding of the deployment. */
export type Fetcher = Pick<typeof globalThis, "fetch">;

export type FetchRequest = {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: ReadableStream | string | null;
  /** The length of a streamed body, if the client announced it. */
  readonly bodyBytes: number | null;
  /**
   * How long the answer's headers may take after the end of the request's body. The request's body itself has no deadline while its bytes move
   * (`stallMs`).
   */
  readonly deadlineMs: number;
  /** Returns a second deadline, which depends on the length of the body. The shorter of the two deadlines applies. */
  readonly shorterMs?: (sentBytes: number) => number;
  /** Whether this write may be sent twice without harm. Every read is repeatable. */
  readonly isRepeatable?: boolean;
  /** Ends the call at once, because nothing reads its answer any more. */
  readonly signal?: AbortSignal;
};

/** RFC 9112 §9.3: a Pod that stops reading a body may still have sent an answer, such as a 413. We read that answer within these limits. */
const earlyAnswerMs = 1_000;
const MAX_EARLY_BYTES = 64 * 1024;

export type FetchPorts = {
  readonly fetcher: Fetcher;
  /** Keeps work going after the client's answer. The platform ends it 30 s after that answer. */
  readonly waitUntil: (work: Promise<unknown>) => void;
  /** Called for each request that is sent, also for a repeated one. */
  readonly onSend?: () => void;
  /** Called before a request is sent a second time. Unless this returns true, the first failure is the result. */
  readonly mayRetry?: () => boolean;
  /** A request's body is cut if no byte of it moves for this long. */
  readonly stallMs: number;
  /** While a write waits for its answer, these pings show whether the service is still there. Without pings, we wait until the write's deadline. */
  readonly ping?: Ping;
};

/** Calls a Pod and follows no redirects. A request that may be repeated is sent once more if its connection breaks. */
export async function fetchWithin(request: FetchRequest, ports: FetchPorts): Promise<Result<Response, PodFailure>> {
  const startedAtMs = Date.now();
  const first = await fetchOnce(request, ports);
  const isRepeatable = isRead(request.method) || request.isRepeatable === true;
  if (first.ok || first.error.reason !== "unreachable" || first.error.noConnection || !isRepeatable) return first;
  // The Pod may close a kept-alive connection just as we use it again, so a broken connection does not mean that the Pod is down. We try once more,
  // with the rest of the deadline.
  const deadlineMs = request.deadlineMs - (Date.now() - startedAtMs);
  return deadlineMs > 0 && ports.mayRetry?.() ? fetchOnce({ ...request, deadlineMs }, ports) : first;
}

/** A Worker's `fetch` sends no User-Agent by itself, and many firewalls refuse a request without one. */
const ownUserAgent = "registry-edge";

const unread: PodFailure = { reason: "client-left", text: "its answer has no reader any more" };

async function fetchOnce(request: FetchRequest, ports: FetchPorts): Promise<Result<Response, PodFailure>> {
  const { fetcher, waitUntil, onSend } = ports;
  if (!request.headers.has("User-Agent")) request.headers.set("User-Agent", ownUserAgent);
  const deadline = startDeadline(request, ports);
  onSend?.();
  const answered = fetcher.fetch(request.url, {
    method: request.method,
    headers: request.headers,
    body: deadline.body,
    redirect: "manual",
    cache: "no-store",
    signal: deadline.signal,
  });
  try {
    const response = await Promise.race([answered, deadline.passed]);
    if (!(response instanceof Response)) {
      waitUntil(answered.then(({ body }) => body?.cancel()).catch(() => null));
      return err(response);
    }
    const unusable = unusableAnswer(response);
    if (unusable !== null) {
      waitUntil(Promise.resolve(response.body?.cancel()).catch(() => null));
      return err(unusable);
    }
    return ok(response.status >= 400 && deadline.isSending() ? await wholeAnswer(response) : response);
  } catch (error) {
    if (deadline.signal.aborted) return err(deadline.signal.reason as PodFailure);
    return err({ reason: "unreachable", text: error instanceof Error ? error.message : "connection failed" });
  } finally {
    deadline.end();
  }
}

function unusableAnswer({ status, headers }: Response): PodFailure | null {
  const tooLong = tooLongHeader(headers);
  if (tooLong !== null) {
    return { reason: "bad-answer", text: `answered with a header "${tooLong}" of more than 16 KB` };
  }
  // RFC 9110 §15: only statuses from 200 to 599 can be passed on. A 101 would answer an upgrade that was never asked for.
  if (status < 200 || status > 599) return { reason: "bad-answer", text: `answered with status ${status}` };
  return failureOfCloudflare(status);
}

/**
 * Starts the deadline for the answer's headers, which runs from the end of the request's body. When the deadline passes, `signal` ends a read. A
 * write is not ended, but `passed` resolves, and we stop waiting for the write. `passed` also resolves if the service seems to have lost the write.
 */
function startDeadline(request: FetchRequest, { stallMs, ping }: Pick<FetchPorts, "stallMs" | "ping">) {
  const abort = new AbortController();
  const passed = Promise.withResolvers<PodFailure>();
  const { body, sent, sentBytes } = streamBody(request, stallMs);
  let disarm = () => {};
  let ended = false;
  const giveUp = (failure: PodFailure) => {
    if (!ended) abort.abort(failure);
  };
  const arm = () => {
    const ms = Math.min(request.deadlineMs, request.shorterMs?.(sentBytes()) ?? request.deadlineMs);
    const silent: PodFailure = { reason: "silent", text: `no answer within ${ms} ms` };
    if (ended) return;
    // We do not end a write, because the Pod would stop half way. For example, distribution would delete a manifest and leave most of its tags.
    const timer = setTimeout(isRead(request.method) ? giveUp : passed.resolve, ms, silent);
    const unwatch = ping === undefined || isRead(request.method) ? null : watchService(ping, passed.resolve);
    disarm = () => {
      clearTimeout(timer);
      unwatch?.();
    };
  };
  const bodyBroke: PodFailure = {
    reason: "unreachable",
    text: "connection lost before all of the request's body was sent",
  };
  let isSending = sent !== null;
  const onBodyEnd = (end: BodyEnd) => {
    if (end === "whole") {
      isSending = false;
      arm();
    } else if (end === "sink broke") setTimeout(giveUp, earlyAnswerMs, bodyBroke);
    // The client broke off, or the body stalled. The Pod will not get the whole body, so we abort the call, even if its answer has already come.
    else abort.abort(bodyFailure(end, stallMs));
  };
  const { signal } = request;
  if (signal?.aborted) abort.abort(unread);
  signal?.addEventListener("abort", () => abort.abort(unread));
  if (sent === null) arm();
  else void sent.then(onBodyEnd);
  const end = () => {
    ended = true;
    disarm();
  };
  return { body, signal: abort.signal, passed: passed.promise, isSending: () => isSending, end };
}

function bodyFailure(end: Exclude<BodyEnd, "whole" | "sink broke">, stallMs: number): PodFailure {
  const still = `for ${stallMs} ms`;
  if (end === "sink stalled") return { reason: "silent", text: `took nothing of the request's body ${still}` };
  const text = end === "source broke" ? "broke off its request's body" : `sent nothing of its request's body ${still}`;
  return { reason: "client-left", text: `the client ${text}` };
}

/**
 * Reads the answer of a Pod that refuses a request before all of the request's body was sent. The connection may break at any moment, so we read the
 * answer before we pass it on. If the answer's body is late, lost or too long, the client gets only status and headers.
 */
async function wholeAnswer(response: Response): Promise<Response> {
  const { status, headers, body } = response;
  if (body === null) return response;
  const bytes = await within(
    boundedBytes(body, MAX_EARLY_BYTES).catch(() => null),
    earlyAnswerMs,
  );
  if (bytes !== null && bytes !== "late") return new Response(bytes, { status, headers });
  const bodyless = new Headers(headers);
  for (const name of ["Content-Length", "Content-Type", "Content-Encoding"]) bodyless.delete(name);
  return new Response(null, { status, headers: bodyless });
}

/**
 * Streams the body to the Pod, with the length that the client announced. If the client breaks off, the pipe stays open, and the whole call is
 * aborted. If we aborted the pipe, workerd would end the body normally, and the Pod would think that it has the whole body.
 */
function streamBody({ body, bodyBytes }: FetchRequest, stallMs: number): StreamedBody {
  if (body === null || typeof body === "string") return { body, sent: null, sentBytes: () => body?.length ?? 0 };
  const pipe = openPipe(bodyBytes);
  const counting = countBytes(pipe.writable.getWriter());
  const sent = moveBody(body, counting, { stallMs });
  return { body: pipe.readable, sent, sentBytes: counting.sentBytes };
}

type StreamedBody = {
  readonly body: ReadableStream | string | null;
  /** Null if the body is not a stream. */
  readonly sent: Promise<BodyEnd> | null;
  readonly sentBytes: () => number;
};
