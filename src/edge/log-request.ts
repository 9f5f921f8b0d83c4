import { announcedBytes, contentLength } from "../net/headers.ts";
import type { BodyEnd } from "../net/move-body.ts";
import { hasRepository } from "../oci/endpoint.ts";
import { parseEndpoint } from "../oci/parse-endpoint.ts";
import { isRead } from "../oci/scope.ts";
import { type RequestRecord, redactPath, type Trace } from "../telemetry/log-line.ts";
import type { AttributedAnswer } from "./handle.ts";

type Logged = {
  readonly request: Request;
  /** Null if the request's host is malformed. */
  readonly url: URL | null;
  readonly trace: Trace;
  readonly startedAt: Date;
};

/**
 * Returns a function that writes the request's one log line. Only its first call writes: once a client's leaving is logged, the answer is not logged any
 * more.
 */
export function createRequestLog({ request, url, trace, startedAt }: Logged): (answer: AttributedAnswer) => void {
  let isWritten = false;
  return (answer) => {
    if (isWritten) return;
    isWritten = true;
    const { response, ...told } = answer;
    const record: RequestRecord = {
      log: "edge",
      at: startedAt.toISOString(),
      method: request.method,
      path: url === null ? "" : redactPath(url),
      status: response.status,
      ...told,
      // The body of a read is not sent to the Pod.
      requestBytes: isRead(request.method) ? 0 : announcedBytes(request.body, request.headers),
      responseBytes: request.method === "HEAD" ? 0 : bytesOf(answer),
      ...trace,
      ms: Date.now() - startedAt.getTime(),
    };
    console.log(JSON.stringify(record));
  };
}

/** Reads headers and body only if nothing else tells the size, because workerd makes an object for each as soon as it is read. */
function bytesOf({ response, outcome }: AttributedAnswer): number | null {
  // A redirect of the edge's own has no body.
  if (response.status === 304 || outcome === "redirected") return 0;
  return contentLength(response.headers) ?? (response.body === null ? 0 : null);
}

/** Returns the answer with what the log says about the end of its body. */
export function withBodyEnd(answer: AttributedAnswer, end: BodyEnd, stallMs: number): AttributedAnswer {
  switch (end) {
    case "whole":
      return answer;
    case "sink broke":
      return { ...answer, outcome: "client-left" };
    case "source broke":
      return { ...answer, outcome: "broken", cause: "the Pod broke off its answer's body" };
    case "source stalled":
      return { ...answer, outcome: "broken", cause: `the Pod sent nothing of its answer's body for ${stallMs} ms` };
    case "sink stalled":
      return { ...answer, outcome: "broken", cause: `the client took nothing of its answer's body for ${stallMs} ms` };
  }
}

/** What the log says if the client leaves before there is an answer. The status 499 is nginx's, and no client gets it. */
export function clientLeft({ method }: Request, url: URL | null): AttributedAnswer {
  const endpoint = url === null ? null : parseEndpoint(method, url);
  return {
    response: new Response(null, { status: 499 }),
    outcome: "client-left",
    endpoint: endpoint?.ok === true ? endpoint.value.kind : "unknown",
    ...(endpoint?.ok === true && hasRepository(endpoint.value) ? { repository: endpoint.value.name } : {}),
  };
}
