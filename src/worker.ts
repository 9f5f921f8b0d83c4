import type { Env } from "./config.ts";
import { checkStores } from "./edge/check-stores.ts";
import { answerPreflight, openTo } from "./edge/cors.ts";
import { type AttributedAnswer, handle } from "./edge/handle.ts";
import { clientLeft, createRequestLog, withBodyEnd } from "./edge/log-request.ts";
import { serveProbe } from "./edge/probe.ts";
import { refuse } from "./edge/refuse.ts";
import { answerShell } from "./edge/shell.ts";
import { createIsolate, isolate } from "./isolate.ts";
import { allowsPlainHttp, hostCharacters } from "./lib/address.ts";
import { Departure } from "./net/departure.ts";
import { watchAnswer } from "./net/move-body.ts";
import { isRead } from "./oci/scope.ts";
import type { Refusal } from "./refusal.ts";
import { buildServices, type RequestPorts, type Services } from "./services.ts";
import type { Trace } from "./telemetry/log-line.ts";

export default {
  async fetch(request, env, context): Promise<Response> {
    const [startedAt, url] = [new Date(), readUrl(request)];
    const trace: Trace = { kvReads: 0, kvKeys: 0, podRequests: 0 };
    const write = createRequestLog({ request, url, trace, startedAt });
    let answer: AttributedAnswer | null = null;
    // The platform says so until the answer's last byte. workerd itself hears of a reset; that a client has closed in order, it learns when it writes.
    const departure = new Departure(request, () =>
      write(answer === null ? clientLeft(request, url) : { ...answer, outcome: "client-left" }),
    );
    // A request with a body waits for that body first, so we listen for the client's leaving from the start.
    if (!isRead(request.method)) departure.listen();
    const waitUntil = (promise: Promise<unknown>) => context.waitUntil(promise);
    answer = await answerRequest(request, url, { env, trace, waitUntil, departure });
    return passOn(request, answer, { write, departure, waitUntil });
  },

  /** The cron trigger, once in a minute. It reads KV itself, because what requests remember of it may be half a minute old. */
  async scheduled({ scheduledTime }, env, context): Promise<void> {
    const trace: Trace = { kvReads: 0, kvKeys: 0, podRequests: 0 };
    const waitUntil = (promise: Promise<unknown>) => context.waitUntil(promise);
    // This has no client.
    const departure = { listen: () => new AbortController().signal };
    const ports = { isolate: createIsolate(), trace, waitUntil, departure };
    const services = buildServices(env, ports);
    await checkStores(services, { kv: env.DIRECTORY, minute: Math.floor(scheduledTime / 60_000) });
  },
} satisfies ExportedHandler<Env>;

type Passing = {
  readonly write: (answer: AttributedAnswer) => void;
  readonly departure: Departure;
  readonly waitUntil: Services["waitUntil"];
};

/** The answer for the client. The log waits for the end of a body that comes from a Pod, because only then it is known whether it was whole. */
async function passOn(
  request: Request,
  answer: AttributedAnswer,
  { write, departure, waitUntil }: Passing,
): Promise<Response> {
  const stallMs = isolate.config?.stallMs ?? 0;
  const { rest } = answer;
  const unwatched = { response: answer.response, ended: null };
  const { response, ended } = comesFromPod(request, answer)
    ? await watchAnswer(answer.response, { stallMs, signal: departure.listen(), ...(rest && { rest }) })
    : unwatched;
  if (ended === null) {
    write(answer);
    return response;
  }
  const written = ended.then((end) => {
    write(withBodyEnd(answer, end, stallMs));
    // A second reader of the body, which records it, must not keep the Pod's connection.
    if (end !== "whole") departure.endCalls();
  });
  waitUntil(written);
  return response;
}

const comesFromPod = ({ method }: Request, { outcome }: AttributedAnswer): boolean =>
  method !== "HEAD" && (outcome === "forwarded" || outcome === "streamed");

/**
 * Null: the request's host is malformed (RFC 9112 §3.2), and it would be written into challenges and into what Pods are told. The raw text is read,
 * because `URL` reads a fragment or a user's name in it as something else. A port that is too high makes it throw.
 */
function readUrl({ url }: Request): URL | null {
  const [, , host = ""] = url.split("/", 3);
  if (!hostCharacters.test(host)) return null;
  try {
    return new URL(url);
  } catch {
    return null;
  }
}

const wrongHost: Refusal = {
  reason: "refused",
  error: {
    code: "UNSUPPORTED",
    status: 400,
    message: "the request's host is malformed; want a name, and a port if it has one",
  },
};

/**
 * A challenge with an http realm would make clients send their password in the clear, and a redirect would hide that a client is set up so.
 * The scheme is the one that the platform saw; `X-Forwarded-Proto` is the client's word.
 */
const plainHttp: Refusal = {
  reason: "refused",
  error: { code: "DENIED", message: "this registry is served over https only; use its https:// address" },
};

const unknownPath = (path: string): Refusal => ({
  reason: "refused",
  error: {
    code: "UNSUPPORTED",
    status: 404,
    message: `path "${path.slice(0, 300)}" is not an endpoint of this registry`,
  },
});

/** A refusal outside `handle` never challenges for a token, so realm, service and access stay empty. */
const refuseOutside = (refusal: Refusal, endpoint = "unknown"): AttributedAnswer => ({
  ...refuse(refusal, { realm: "", service: "", access: [] }),
  endpoint,
});

type Deployment = { readonly env: Env } & Omit<RequestPorts, "isolate">;

async function answerRequest(
  request: Request,
  url: URL | null,
  { env, ...ports }: Deployment,
): Promise<AttributedAnswer> {
  if (url === null) return refuseOutside(wrongHost);
  const { pathname, protocol, hostname } = url;
  // More than one slash at the start is redirected, as registries do.
  const isRegistry = pathname === "/jwt/auth" || /^\/+(v2|gitlab\/v1)\//.test(pathname);
  try {
    if (isRegistry || pathname === "/-/probe") {
      const services = buildServices(env, { isolate, ...ports });
      const isPlain = protocol === "http:" && !allowsPlainHttp(services.config.plainHttp, hostname);
      if (isPlain) return refuseOutside(plainHttp);
      if (isRegistry) return await answerRegistry(request, url, services);
      const probed = await serveProbe(request, services);
      if (probed !== null)
        return probed.ok ? { ...probed.value, endpoint: "probe" } : refuseOutside(probed.error, "probe");
    }
    const response = answerShell(request, url);
    if (response === null) return refuseOutside(unknownPath(pathname));
    return { response, outcome: response.ok ? "health" : "refused", endpoint: "unknown" };
  } catch (error) {
    // This is a bug, or a configuration that does not parse. The message names variables and code, so it stays in the log.
    return refuseOutside({ reason: "internal", text: error instanceof Error ? error.message : "unknown error" });
  }
}

/** Registry traffic. Scripts of other sites may take part only if the operator lists their sites. */
async function answerRegistry(request: Request, url: URL, services: Services): Promise<AttributedAnswer> {
  const { corsOrigins } = services.config;
  const preflight = answerPreflight(request, corsOrigins);
  const answer = preflight === null ? await handle(request, services, url) : { ...preflight, endpoint: "unknown" };
  openTo(corsOrigins, request, answer.response);
  return answer;
}
