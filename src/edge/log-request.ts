import type { Client } from "../directory/clients.ts";
import { announcedBytes, contentLength } from "../net/headers.ts";
import type { BodyEnd } from "../net/move-body.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import { parseEndpoint } from "../oci/parse-endpoint.ts";
import { isRead } from "../oci/scope.ts";
import { type Asker, plainText, type RequestRecord, redactPath, type Trace } from "../telemetry/log-line.ts";
import { drawSample, type Sampling } from "../telemetry/sample.ts";
import { type AttributedAnswer, about } from "./attribute.ts";
import type { Answer } from "./refuse.ts";

type Logged = {
  readonly request: Request;
  readonly client: Client;
  /** Null if the request's host is malformed. */
  readonly url: URL | null;
  readonly trace: Trace;
  readonly startedAt: Date;
  readonly sampling: Sampling;
};

/**
 * Returns a function that writes the request's log line, if the request is in the sample. Only the first call counts: after a line that says that the
 * client has left, a later answer is not logged.
 */
export function createRequestLog(logged: Logged): (answer: AttributedAnswer) => void {
  let isDecided = false;
  return (answer) => {
    if (isDecided) return;
    isDecided = true;
    const { response, outcome, cause } = answer;
    const sample = drawSample({ status: response.status, outcome, cause }, logged.sampling);
    if (sample !== null) console.log(JSON.stringify(recordOf(answer, logged, sample)));
  };
}

function recordOf(
  answer: AttributedAnswer,
  { request, client, url, trace, startedAt }: Logged,
  sample: number,
): RequestRecord {
  const { response, outcome, endpoint, repository, pod, cause } = answer;
  const digest = repository === undefined ? undefined : (answer.digest ?? digestIn(response));
  return {
    log: "edge",
    at: startedAt.toISOString(),
    sample,
    method: request.method,
    path: url === null ? "" : redactPath(url),
    status: response.status,
    outcome,
    endpoint,
    repository,
    digest,
    pod,
    cause: shown(cause ?? null, maxCauseCharacters),
    // The Pod does not get the body of a read, so the log says 0.
    requestBytes: isRead(request.method) ? 0 : announcedBytes(request.body, request.headers),
    responseBytes: request.method === "HEAD" ? 0 : bytesOf(response, outcome),
    ...trace,
    ...askerOf(request, client),
    ms: Date.now() - startedAt.getTime(),
  };
}

/** Returns the digest in an answer's `Docker-Content-Digest`, such as that of a tag's manifest. A Pod may write anything into this header. */
function digestIn({ headers }: Response): Digest | undefined {
  const digest = parseDigest(headers.get("Docker-Content-Digest") ?? "");
  return digest.ok ? digest.value : undefined;
}

const maxUserAgentCharacters = 256;
/** A cause may name the host to which a Pod redirects, which can have thousands of characters. */
const maxCauseCharacters = 1_000;
/** Cloudflare sets the client's address (at most 45 characters) and the ray id (20). On the local stack, a client can set them to a longer text. */
const maxIdCharacters = 64;

/** This is called only if the line will be written, because the first read of `cf` makes workerd parse JSON. */
function askerOf({ headers }: Request, { ip, country, asn }: Client): Asker {
  return {
    client: shown(ip, maxIdCharacters),
    country: shown(country, maxIdCharacters),
    asn: asn ?? undefined,
    userAgent: shown(headers.get("User-Agent"), maxUserAgentCharacters),
    ray: shown(headers.get("CF-Ray"), maxIdCharacters),
  };
}

const shown = (text: string | null, maxCharacters: number): string | undefined =>
  text === null ? undefined : plainText(text, maxCharacters);

/** Null if the answer does not say its size. */
function bytesOf(response: Response, outcome: AttributedAnswer["outcome"]): number | null {
  // A redirect of the edge has no body. We do not read its headers, because workerd makes an object at the first read of headers.
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

/** What the log says if the client leaves before there is an answer. The status 499 has this meaning in nginx's logs. */
export function clientLeft({ method }: Request, url: URL | null): AttributedAnswer {
  const endpoint = url === null ? null : parseEndpoint(method, url);
  const answer: Answer = { response: new Response(null, { status: 499 }), outcome: "client-left" };
  return endpoint?.ok === true ? about(endpoint.value, answer) : { ...answer, endpoint: "unknown" };
}
