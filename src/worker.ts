import { Hono } from "hono";
import type { Env } from "./config.ts";
import { type AttributedAnswer, handle } from "./edge/handle.ts";
import { serveProbe } from "./edge/probe.ts";
import { type Reply, refuse } from "./edge/refuse.ts";
import { isolate } from "./isolate.ts";
import { isHost } from "./lib/address.ts";
import { announcedBytes } from "./net/headers.ts";
import type { Refusal } from "./refusal.ts";
import { buildServices, type Services } from "./services.ts";
import { type RequestRecord, redactPath, type Trace } from "./telemetry/record.ts";

/** What is not registry traffic. `/v2/` does not pass this router. */
const shell = new Hono<{ Bindings: Env }>();
shell.get("/-/health", (context) => context.json({ status: "ok" }));
shell.get("/", (context) =>
  context.text("This is a container registry. Use it with docker, podman or any other OCI client.\n"),
);
// Registries redirect here (distribution's router), because the base of the API ends in a slash.
shell.all("/v2", (context) => context.redirect("/v2/", 301));
shell.notFound((context) => refuseOutside(unknownPath(context.req.path)).response);

export default {
  async fetch(request, env, context): Promise<Response> {
    const startedAt = new Date();
    const trace: Trace = { kvReads: 0, podRequests: 0 };
    const url = readUrl(request);
    const answer =
      url === null
        ? refuseOutside(wrongHost)
        : await answerRequest(request, url, { env, trace, waitUntil: (promise) => context.waitUntil(promise) });
    console.log(JSON.stringify(recordOf({ request, url, answer, trace, startedAt })));
    return answer.response;
  },
} satisfies ExportedHandler<Env>;

/**
 * Null: the request's host is malformed (RFC 9112 §3.2), and it would be written into challenges and into what Pods are told. The raw text is read,
 * because `URL` reads a fragment or a user's name in it as something else, and throws at a port that is too high.
 */
function readUrl({ url }: Request): URL | null {
  const [, , host = ""] = url.split("/", 3);
  return isHost(host) ? new URL(url) : null;
}

const wrongHost: Refusal = {
  reason: "refused",
  error: {
    code: "UNSUPPORTED",
    status: 400,
    message: "the request's host is malformed; want a name, and a port if it has one",
  },
};

const unknownPath = (path: string): Refusal => ({
  reason: "refused",
  error: {
    code: "UNSUPPORTED",
    status: 404,
    message: `path "${path.slice(0, 300)}" is not an endpoint of this registry`,
  },
});

/** Refusals outside `handle` ask for no token of the registry. */
const refuseOutside = (refusal: Refusal, endpoint = "unknown"): AttributedAnswer => ({
  ...refuse(refusal, { realm: "", service: "", access: [] }),
  endpoint,
});

type Deployment = { readonly env: Env; readonly trace: Trace; readonly waitUntil: Services["waitUntil"] };

async function answerRequest(
  request: Request,
  { pathname, origin }: URL,
  { env, trace, waitUntil }: Deployment,
): Promise<AttributedAnswer> {
  const services = () => buildServices(env, { isolate, origin, trace, waitUntil });
  try {
    // More than one slash at the start is redirected, as registries do.
    if (pathname === "/jwt/auth" || /^\/+(v2|gitlab\/v1)\//.test(pathname)) {
      return await handle(request, services());
    }
    const probed: Reply | null = pathname === "/-/probe" ? await serveProbe(request, services()) : null;
    if (probed !== null)
      return probed.ok ? { ...probed.value, endpoint: "probe" } : refuseOutside(probed.error, "probe");
    const response = await shell.fetch(request, env);
    return { response, outcome: response.ok ? "health" : "refused", endpoint: "unknown" };
  } catch (error) {
    // This is a bug, or a configuration that does not parse. The message names variables and code, so it stays in the log.
    return refuseOutside({ reason: "internal", text: error instanceof Error ? error.message : "unknown error" });
  }
}

type Handled = {
  readonly request: Request;
  readonly url: URL | null;
  readonly answer: AttributedAnswer;
  readonly trace: Trace;
  readonly startedAt: Date;
};

function recordOf({ request, url, answer, trace, startedAt }: Handled): RequestRecord {
  const { response, ...told } = answer;
  return {
    log: "edge",
    at: startedAt.toISOString(),
    method: request.method,
    path: url === null ? "" : redactPath(url),
    status: response.status,
    ...told,
    requestBytes: announcedBytes(request.body, request.headers),
    responseBytes: request.method === "HEAD" ? 0 : announcedBytes(response.body, response.headers),
    ...trace,
    ms: Date.now() - startedAt.getTime(),
  };
}
