/** The list of requests that a tap remembers and `/-/seen` shows. */
import { createHash } from "node:crypto";
import { Recent } from "../recent.ts";

type AuthorizationKind = "none" | "basic" | "bearer" | "other";

/** One request as a tap saw it. `status` is null until the answer begins, and `ms` is null until the answer has ended. */
export type SeenRequest = {
  readonly method: string;
  readonly path: string;
  readonly status: number | null;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly authorization: AuthorizationKind;
  readonly authorizationSha256: string | null;
  readonly ms: number | null;
};

const maxSeen = 50_000;

/** A request that has no whole answer yet. Its counters still grow. */
export type OpenRequest = { -readonly [Field in keyof SeenRequest]: SeenRequest[Field] };

export class SeenList {
  readonly #requests = new Recent<OpenRequest>(maxSeen);

  /** Remembers a request when it arrives, so that even a request without an answer is seen. */
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
    this.#requests.add(request);
    return request;
  }

  list(): readonly SeenRequest[] {
    return this.#requests.list().map((request) => ({ ...request }));
  }

  clear(): void {
    this.#requests.clear();
  }
}

function authorizationKind(value: string | undefined): AuthorizationKind {
  if (value === undefined) return "none";
  const scheme = value.trimStart().split(" ", 1)[0]?.toLowerCase();
  return scheme === "basic" || scheme === "bearer" ? scheme : "other";
}
