import type { Result } from "../lib/result.ts";
import type { FindRest } from "../net/move-body.ts";
import { bodyBroke, errorResponse, noAnswer, type OciError, unavailable, wrongAnswer } from "../oci/errors.ts";
import type { Refusal } from "../refusal.ts";
import type { Outcome } from "../telemetry/log-line.ts";
import { type OwnChallenge, unauthorized } from "./challenge.ts";

export type Answer = {
  readonly response: Response;
  readonly outcome: Outcome;
  /** The Pods that were asked, joined by commas. */
  readonly pod?: string | undefined;
  readonly rest?: FindRest;
  /** The precise reason, for the log. The answer may be vague on purpose. */
  readonly cause?: string;
};

/** The result of a step of `handle`. */
export type Reply = Result<Answer, Refusal>;

/** Says why a request was refused, for the log. */
export const textOf = (refusal: Refusal): string =>
  "text" in refusal ? (refusal.text ?? refusal.reason) : refusal.reason;

/** Turns a refusal into an answer. The log gets the precise reason, and the client learns little. */
export function refuse(refusal: Refusal, challenge: OwnChallenge): Answer {
  switch (refusal.reason) {
    case "refused":
      return answer(refusal.error, "refused");
    case "unauthorized":
      return answer(unauthorized(refusal, challenge), "challenged", refusal.error ?? undefined);
    case "name-unknown":
      return answer(nameUnknown, "refused", refusal.reason);
    case "blocked":
      return answer({ code: "DENIED", message: refusal.text }, "blocked");
    case "client-denied":
    case "read-only":
    case "moving":
    case "renamed":
      return answer({ code: "DENIED", message: refusal.text }, "refused", refusal.reason);
    case "upload-unknown":
      return answer(uploadUnknown, "refused");
    case "no-form":
      return {
        response: new Response(null, { status: 404, headers: { "Cache-Control": "no-store" } }),
        outcome: "token",
      };
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
    case "breaker-open":
      return answer(noAnswer, "unavailable", refusal.text);
    case "client-left":
      return answer(bodyBroke, "client-left", refusal.text);
    case "foreign-location":
    case "bad-answer":
      return answer(wrongAnswer, "failed", refusal.text);
    case "misconfigured":
      return answer(notConfigured, "failed", refusal.text);
    case "internal":
      return answer({ code: "UNKNOWN", message: "internal error" }, "failed", refusal.text);
  }
}

const answer = (error: OciError, outcome: Outcome, cause?: string): Answer => ({
  response: errorResponse(error),
  outcome,
  ...(cause === undefined ? {} : { cause }),
});

const nameUnknown = { code: "NAME_UNKNOWN", message: "repository name not known to registry" } as const;
const uploadUnknown = { code: "BLOB_UPLOAD_UNKNOWN", message: "blob upload unknown to registry" } as const;
const notConfigured = {
  code: "UNKNOWN",
  message: "the edge is not configured for the registry of this repository",
} as const;
