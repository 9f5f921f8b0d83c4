/** What a tap remembers: a bounded list of the requests that passed it, oldest dropped first. */
import { createHash } from "node:crypto";
import type { AuthorizationKind, SeenRequest } from "../types.ts";

const maxSeen = 50_000;

/** A request on its way; the counters grow until the answer has ended. */
export type OpenRequest = { -readonly [Field in keyof SeenRequest]: SeenRequest[Field] };

export class SeenList {
  #requests: OpenRequest[] = [];

  /** Remembered from its arrival on, so that a request that never gets an answer is seen too. */
  begin(method: string, path: string, authorization: string | undefined): OpenRequest {
    const request: OpenRequest = {
      method,
      path,
      status: null,
      requestBytes: 0,
      responseBytes: 0,
      authorization: authorizationKind(authorization),
      authorizationSha256:
        authorization === undefined ? null : createHash("sha256").update(authorization, "latin1").digest("hex"),
      ms: null,
    };
    this.#requests.push(request);
    // In slices: `shift` on a list of this length costs its length each time.
    if (this.#requests.length > maxSeen * 1.25) this.#requests = this.#requests.slice(-maxSeen);
    return request;
  }

  list(): readonly SeenRequest[] {
    return this.#requests.slice(-maxSeen).map((request) => ({ ...request }));
  }

  clear(): void {
    this.#requests = [];
  }
}

function authorizationKind(value: string | undefined): AuthorizationKind {
  if (value === undefined) return "none";
  const scheme = value.trimStart().split(" ", 1)[0]?.toLowerCase();
  return scheme === "basic" || scheme === "bearer" ? scheme : "other";
}
