import type { Refusal } from "../auth/grant.ts";
import type { Misconfigured } from "../directory/secrets.ts";
import type { PodFailure } from "../net/fetch-request.ts";
import { type Challenge, formatChallenge } from "../oci/challenge.ts";
import type { Endpoint } from "../oci/endpoint.ts";
import { errorResponse, type OciError } from "../oci/errors.ts";
import { accessList, requiredAccess } from "../oci/scope.ts";
import type { ForeignLocation } from "../pods/rewrite.ts";
import type { StateRefusal } from "../pods/state.ts";
import type { Outcome } from "../telemetry/record.ts";
import type { TokenRefusal } from "../token-endpoint/serve.ts";

/** A response with what the log says of it. */
export type Answer = {
  readonly response: Response;
  readonly outcome: Outcome;
  readonly endpoint: Endpoint["kind"] | "probe" | "unknown";
  readonly repository?: string;
  readonly pod?: string;
  readonly cause?: string;
};

export type AnyRefusal =
  | Refusal
  | TokenRefusal
  | PodFailure
  | ForeignLocation
  | { readonly reason: "malformed"; readonly error: OciError }
  | { readonly reason: "blocked"; readonly text: string }
  | StateRefusal
  | { readonly reason: "upload-unknown" }
  | Misconfigured;

/** Realm and service as this request's challenges name them. */
export type Challenger = Pick<Challenge, "realm" | "service">;

const retryAfterSeconds = 5;

/** The one switch from what went wrong inside to what the client is told: precise in the log, generic on the wire. */
export function refuse(refusal: AnyRefusal, endpoint: Endpoint | null, challenger: Challenger): Answer {
  const answer = (error: OciError, outcome: Outcome, cause?: string): Answer => ({
    response: errorResponse(error),
    outcome,
    endpoint: endpoint?.kind ?? "unknown",
    ...(cause === undefined ? {} : { cause }),
  });
  switch (refusal.reason) {
    case "malformed":
    case "refused":
      return answer(refusal.error, "refused");
    case "unauthorized":
      return answer(unauthorized(endpoint, refusal, challenger), "challenged", refusal.error ?? undefined);
    case "name-unknown":
      return answer(
        { code: "NAME_UNKNOWN", message: "repository name not known to registry" },
        "refused",
        refusal.reason,
      );
    case "blocked":
      return answer({ code: "DENIED", message: refusal.text }, "blocked");
    case "read-only":
      return answer({ code: "DENIED", message: refusal.text }, "refused", refusal.reason);
    case "upload-unknown":
      return answer(
        { code: "BLOB_UPLOAD_UNKNOWN", message: "blob upload unknown to registry" },
        "refused",
        refusal.reason,
      );
    case "directory":
      return answer(
        unavailable("the directory of this registry cannot be read; try again"),
        "unavailable",
        refusal.text,
      );
    case "down":
      return answer(unavailable(refusal.text), "unavailable", refusal.reason);
    case "unreachable":
    case "silent":
      return answer(
        unavailable("the registry of this repository does not answer; try again"),
        "unavailable",
        refusal.text,
      );
    case "foreign-location":
    case "bad-answer":
      return answer(
        { code: "UNKNOWN", status: 502, message: "the registry of this repository answered wrongly" },
        "failed",
        refusal.text,
      );
    case "misconfigured":
      return answer(
        { code: "UNKNOWN", message: "the edge is not configured for the registry of this repository" },
        "failed",
        refusal.text,
      );
  }
}

const unavailable = (message: string): OciError => ({
  code: "UNAVAILABLE",
  message,
  headers: { "Retry-After": String(retryAfterSeconds) },
});

/** As registries refuse (distribution: `authentication required` with what is missing), with the edge's own realm and service. */
function unauthorized(
  endpoint: Endpoint | null,
  { error, text }: Extract<Refusal, { readonly reason: "unauthorized" }>,
  challenger: Challenger,
): OciError {
  const access = endpoint === null ? [] : accessList(requiredAccess(endpoint));
  const detail = access.flatMap(({ type, name, actions }) =>
    actions.map((action) => ({ Type: type, Class: "", Name: name, Action: action })),
  );
  return {
    code: "UNAUTHORIZED",
    message: text === undefined ? "authentication required" : `authentication required: ${text}`,
    detail: detail.length === 0 ? null : detail,
    headers: { "WWW-Authenticate": formatChallenge({ ...challenger, access, error }) },
  };
}
