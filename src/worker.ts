import { Hono } from "hono";
import type { Env } from "./config.ts";
import { handle } from "./edge/handle.ts";
import { serveProbe } from "./edge/probe.ts";
import { type Answer, refuse } from "./edge/refuse.ts";
import { isHost } from "./lib/address.ts";
import { errorResponse } from "./oci/errors.ts";
import { buildServices, type Services } from "./services.ts";
import { announcedBytes, type RequestRecord, redactPath, type Trace } from "./telemetry/record.ts";

/** The shell: what is no registry traffic. `/v2/` does not pass its router. */
const shell = new Hono<{ Bindings: Env }>();
shell.get("/-/health", (context) => context.json({ status: "ok" }));
shell.get("/", (context) =>
  context.text("This is a container registry. Use it with docker, podman or any other OCI client.\n"),
);
// Registries redirect here (distribution's router): the API's base ends in a slash.
shell.get("/v2", (context) => context.redirect("/v2/", 301));
shell.notFound((context) =>
  errorResponse({
    code: "UNSUPPORTED",
    status: 404,
    message: `path "${context.req.path.slice(0, 300)}" is no endpoint of this registry`,
  }),
);

export default {
  async fetch(request, env, context): Promise<Response> {
    const startedAt = new Date();
    const trace: Trace = { kvReads: 0, podRequests: 0 };
    const url = readUrl(request);
    const answer =
      url === null
        ? refuse({ reason: "malformed", error: wrongHost }, null, { realm: "", service: "" })
        : await answerRequest(request, url, env, trace, (promise) => context.waitUntil(promise));
    console.log(JSON.stringify(recordOf(request, url, answer, trace, startedAt)));
    return answer.response;
  },
} satisfies ExportedHandler<Env>;

/**
 * Null: the host is none (RFC 9112 §3.2). It would stand in challenges, and in what Pods are told of the request. Read as it was sent,
 * for a fragment or a user's name in it is something else to `URL`, which throws at a port that is too high.
 */
function readUrl({ url }: Request): URL | null {
  const [, , host = ""] = url.split("/", 3);
  return isHost(host) ? new URL(url) : null;
}

const wrongHost = {
  code: "UNSUPPORTED",
  status: 400,
  message: "the request's host is malformed; want a name, and a port if it has one",
} as const;

async function answerRequest(
  request: Request,
  { pathname, origin }: URL,
  env: Env,
  trace: Trace,
  waitUntil: Services["waitUntil"],
): Promise<Answer> {
  try {
    if (pathname === "/jwt/auth" || pathname.startsWith("/v2/") || pathname.startsWith("/gitlab/v1/")) {
      return await handle(request, buildServices(env, trace, origin, waitUntil));
    }
    const probed =
      pathname === "/-/probe" ? await serveProbe(request, buildServices(env, trace, origin, waitUntil)) : null;
    if (probed !== null) return probed;
    const response = await shell.fetch(request, env);
    return { response, outcome: response.ok ? "health" : "refused", endpoint: "unknown" };
  } catch (error) {
    // The last resort: a bug, or a configuration that does not parse. Its message names variables and code, and stays in the log.
    const cause = error instanceof Error ? error.message : "unknown error";
    const internal = { code: "UNKNOWN", message: "internal error" } as const;
    return {
      ...refuse({ reason: "malformed", error: internal }, null, { realm: origin, service: "" }),
      outcome: "failed",
      cause,
    };
  }
}

function recordOf(request: Request, url: URL | null, answer: Answer, trace: Trace, startedAt: Date): RequestRecord {
  const { response, outcome, endpoint, repository, pod, cause } = answer;
  return {
    log: "edge",
    at: startedAt.toISOString(),
    method: request.method,
    path: url === null ? "" : redactPath(url),
    status: response.status,
    outcome,
    endpoint,
    ...(repository === undefined ? {} : { repository }),
    ...(pod === undefined ? {} : { pod }),
    ...(cause === undefined ? {} : { cause }),
    requestBytes: announcedBytes(request.body, request.headers),
    responseBytes: request.method === "HEAD" ? 0 : announcedBytes(response.body, response.headers),
    ...trace,
    ms: Date.now() - startedAt.getTime(),
  };
}
