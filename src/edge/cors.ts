import type { Answer } from "./refuse.ts";

/** A registry's UI sends these methods and headers, and reads the exposed headers of the answer. */
const allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE";
const allowedHeaders = "Authorization, Accept, Content-Type, Content-Range, Range, Cache-Control, If-None-Match";
const exposedHeaders =
  "Docker-Content-Digest, Docker-Distribution-Api-Version, Docker-Upload-UUID, ETag, Link, Location, OCI-Filters-Applied, OCI-Subject, Range, Retry-After, WWW-Authenticate";
const preflightLifeSeconds = 600;

function listedOrigin(request: Request, origins: readonly string[]): string | null {
  const origin = request.headers.get("Origin");
  return origin !== null && origins.includes(origin) ? origin : null;
}

/** Answers a browser that asks whether a listed site may send a request (Fetch standard, "CORS-preflight request"). Null for any other request. */
export function answerPreflight(request: Request, origins: readonly string[]): Answer | null {
  const asks = request.method === "OPTIONS" && request.headers.has("Access-Control-Request-Method");
  if (!asks || listedOrigin(request, origins) === null) return null;
  const headers = {
    "Access-Control-Allow-Methods": allowedMethods,
    "Access-Control-Allow-Headers": allowedHeaders,
    "Access-Control-Max-Age": String(preflightLifeSeconds),
    "Cache-Control": "no-store",
  };
  return { response: new Response(null, { status: 204, headers }), outcome: "preflight" };
}

export function openTo(origins: readonly string[], request: Request, response: Response): void {
  if (origins.length === 0) return;
  const { headers } = response;
  headers.append("Vary", "Origin");
  const origin = listedOrigin(request, origins);
  if (origin === null) return;
  headers.set("Access-Control-Allow-Origin", origin);
  // Some UIs send credentials with every request. We allow this: the edge has no cookies, so a UI has only credentials that the user gave to it.
  headers.set("Access-Control-Allow-Credentials", "true");
  if (request.method !== "OPTIONS") headers.set("Access-Control-Expose-Headers", exposedHeaders);
}
