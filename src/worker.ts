import type { Env } from "./config.ts";
import { readClient, unknownClient } from "./directory/clients.ts";
import type { AttributedAnswer } from "./edge/attribute.ts";
import { checkStores } from "./edge/check-stores.ts";
import { answerPreflight, openTo } from "./edge/cors.ts";
import { handle } from "./edge/handle.ts";
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
import type { Sampling } from "./telemetry/sample.ts";

export default {
  async fetch(request, env, context): Promise<Response> {
    const [startedAt, url] = [new Date(), readUrl(request)];
    const trace: Trace = { kvReads: 0, kvKeys: 0, podRequests: 0 };
    const client = readClient(request);
    const write = createRequestLog({ request, client, url, trace, startedAt, sampling });
    let answer: AttributedAnswer | null = null;
    // On Cloudflare, the request's signal tells us when a client leaves before the answer's last byte. Outside Cloudflare, workerd notices that a
    // client has closed its connection only when it next writes to the client.
    const departure = new Departure(request, () =>
      write(answer === null ? clientLeft(request, url) : { ...answer, outcome: "client-left" }),
    );
    // Listening for the client's departure costs time. So a read begins to listen only at its first wait for KV, a cache or a Pod (see `Departure`).
    // A write may soon wait for its own body, so it listens from the start.
    if (!isRead(request.method)) departure.listen();
    const waitUntil = (promise: Promise<unknown>) => context.waitUntil(promise);
    answer = await answerRequest(request, url, { env, ports: { isolate, client, trace, waitUntil, departure } });
    return passOn(request, answer, { write, departure, waitUntil });
  },

  /**
   * Runs once in a minute, by the cron trigger. The run begins with an empty memory, because what this isolate's requests remember of KV may be half
   * a minute old.
   */
  async scheduled({ scheduledTime }, env, context): Promise<void> {
    const trace: Trace = { kvReads: 0, kvKeys: 0, podRequests: 0 };
    const waitUntil = (promise: Promise<unknown>) => context.waitUntil(promise);
    // A run of the cron trigger has no client that could leave.
    const departure = { listen: () => new AbortController().signal };
    const ports = { isolate: createIsolate(), client: unknownClient, trace, waitUntil, departure };
    const services = buildServices(env, ports);
    await checkStores(services, { kv: env.DIRECTORY, minute: Math.floor(scheduledTime / 60_000) });
  },
} satisfies ExportedHandler<Env>;

/** Until a request has parsed the configuration, every request gets a log line. */
const sampling: Sampling = { rate: () => isolate.config?.logSample ?? 1, random: () => Math.random() };

type Passing = {
  readonly write: (answer: AttributedAnswer) => void;
  readonly departure: Departure;
  readonly waitUntil: Services["waitUntil"];
};

/**
 * Logs the request and returns the answer for the client. If the answer's body comes from a Pod, the request is logged at the end of the body,
 * because the body may break off.
 */
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
    // The edge may still be reading a copy of the body, to record it. If the client does not get the whole body, this reading must not keep the
    // connection to the Pod open.
    if (end !== "whole") departure.endCalls();
  });
  waitUntil(written);
  return response;
}

const comesFromPod = ({ method }: Request, { outcome }: AttributedAnswer): boolean =>
  method !== "HEAD" && (outcome === "forwarded" || outcome === "streamed");

/** Null if the URL's host is malformed (RFC 9112 §3.2), because we write the host into challenges and into the Pod's `X-Forwarded-Host`. */
function readUrl({ url }: Request): URL | null {
  const [, , host = ""] = url.split("/", 3);
  // We check the raw text, because `URL` takes a `#` for a fragment's beginning and an `@` for the end of a user's name.
  if (!hostCharacters.test(host)) return null;
  try {
    return new URL(url);
  } catch {
    // `URL` throws, for example, if the host's port is too high, or if its IPv4 address is not valid.
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
 * Plain HTTP gets no challenge, because an http realm would make clients send their password in the clear. A redirect would hide that a client is set
 * up for http.
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

/** A refusal outside `handle` never asks for a token, so realm, service and access stay empty. */
const refuseOutside = (refusal: Refusal, endpoint = "unknown"): AttributedAnswer => ({
  ...refuse(refusal, { realm: "", service: "", access: [] }),
  endpoint,
});

type Deployment = { readonly env: Env; readonly ports: RequestPorts };

async function answerRequest(request: Request, url: URL | null, { env, ports }: Deployment): Promise<AttributedAnswer> {
  if (url === null) return refuseOutside(wrongHost);
  const { pathname, protocol, hostname } = url;
  // A path that begins with several slashes goes to `handle` too, which redirects such a path, as registries do.
  const isRegistry = pathname === "/jwt/auth" || /^\/+(v2|gitlab\/v1)\//.test(pathname);
  try {
    if (isRegistry || pathname === "/-/probe") {
      const services = buildServices(env, ports);
      // We ask the request's own URL and not `X-Forwarded-Proto`, because a client can write anything into this header.
      const isPlain = protocol === "http:" && !allowsPlainHttp(services.config.plainHttp, hostname);
      if (isPlain) return refuseOutside(plainHttp);
      if (isRegistry) return await answerRegistry(request, url, services);
      const probed = await serveProbe(request, services);
      if (probed !== null)
        return probed.ok ? { ...probed.value, endpoint: "probe" } : refuseOutside(probed.error, "probe");
    }
    const response = answerShell(request, url, new Date());
    if (response === null) return refuseOutside(unknownPath(pathname));
    return { response, outcome: response.ok ? "health" : "refused", endpoint: "unknown" };
  } catch (error) {
    // This is a bug, or a configuration that does not parse. The message names variables and code, so only the log gets it.
    return refuseOutside({ reason: "internal", text: error instanceof Error ? error.message : "unknown error" });
  }
}

/** Answers registry traffic. A browser lets scripts of another site read the answer only if the operator lists the site in `CORS_ORIGINS`. */
async function answerRegistry(request: Request, url: URL, services: Services): Promise<AttributedAnswer> {
  const { corsOrigins } = services.config;
  const preflight = answerPreflight(request, corsOrigins);
  const answer = preflight === null ? await handle(request, services, url) : { ...preflight, endpoint: "unknown" };
  openTo(corsOrigins, request, answer.response);
  return answer;
}
