import { readClient } from "../directory/clients.ts";
import { announcedBytes, contentLength } from "../net/headers.ts";
import type { BodyEnd } from "../net/move-body.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import { parseEndpoint } from "../oci/parse-endpoint.ts";
import { isRead } from "../oci/scope.ts";
import { type Asker, plainText, type RequestRecord, redactPath, type Trace } from "../telemetry/log-line.ts";
import { drawSample, type Sampling } from "../telemetry/sample.ts";
import { type AttributedAnswer, aboutEndpoint } from "./attribute.ts";

type Logged = {
  readonly request: Request;
  /** Null if the request's host is malformed. */
  readonly url: URL | null;
  readonly trace: Trace;
  readonly startedAt: Date;
  readonly sampling: Sampling;
};

/**
 * Returns a function that writes the request's one log line, or no line if the request is not in the sample. Only the first call counts. So if the
 * log already says that the client has left, a later answer is not logged.
 */
export function createRequestLog(logged: Logged): (answer: AttributedAnswer) => void {
  let isDecided = false;
  return (answer) => {
    if (isDecided) return;
    isDecided = true;
    const { outcome, cause } = answer;
    const answered = { status: answer.response.status, outcome, ...(cause === undefined ? {} : { cause }) };
    const sample = drawSample(answered, logged.sampling);
    if (sample !== null) console.log(JSON.stringify(recordOf(answer, logged, sample)));
  };
}

function recordOf(
  { response, digest: asked, ...told }: AttributedAnswer,
  { request, url, trace, startedAt }: Logged,
  sample: number,
): RequestRecord {
  const digest = told.repository === undefined ? null : (asked ?? digestIn(response));
  return {
    log: "edge",
    at: startedAt.toISOString(),
    sample,
    method: request.method,
    path: url === null ? "" : redactPath(url),
    status: response.status,
    ...told,
    ...(digest === null ? {} : { digest }),
    // The body of a read counts as empty, because it is not sent to the Pod.
    requestBytes: isRead(request.method) ? 0 : announcedBytes(request.body, request.headers),
    responseBytes: request.method === "HEAD" ? 0 : bytesOf(response, told.outcome),
    ...trace,
    ...askerOf(request),
    ms: Date.now() - startedAt.getTime(),
  };
}

/**
 * The digest that an answer names, such as the digest of a tag's manifest. Null if the header has no digest, because a Pod may write anything there.
 */
function digestIn({ headers }: Response): Digest | null {
  const digest = parseDigest(headers.get("Docker-Content-Digest") ?? "");
  return digest.ok ? digest.value : null;
}

const maxUserAgentCharacters = 256;
/** An address has at most 45 characters, and a ray id 20. They can be longer only on the local stack, where the client itself can set them. */
const maxIdCharacters = 64;

/** Reads who asks. We call this only if a line is written, because workerd parses JSON as soon as `cf` is read. */
function askerOf(request: Request): Asker {
  const { ip, country, asn } = readClient(request);
  const [userAgent, ray] = [request.headers.get("User-Agent"), request.headers.get("CF-Ray")];
  return {
    ...(ip === null ? {} : { client: plainText(ip, maxIdCharacters) }),
    ...(country === null ? {} : { country: plainText(country, maxIdCharacters) }),
    ...(asn === null ? {} : { asn }),
    ...(userAgent === null ? {} : { userAgent: plainText(userAgent, maxUserAgentCharacters) }),
    ...(ray === null ? {} : { ray: plainText(ray, maxIdCharacters) }),
  };
}

/**
 * Returns the size of an answer's body. Null if the answer does not say it. We read headers and body only if we need them, because workerd makes an
 * object for each of them at the first read.
 */
function bytesOf(response: Response, outcome: AttributedAnswer["outcome"]): number | null {
  // A redirect of the edge's own has no body.
  if (response.status === 304 || outcome === "redirected") return 0;
  return contentLength(response.headers) ?? (response.body === null ? 0 : null);
}

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
    ...(endpoint?.ok === true ? aboutEndpoint(endpoint.value) : { endpoint: "unknown" }),
  };
}
