import { isObject, jsonResponse, parseJsonObject } from "../lib/json.ts";

/** The codes of the OCI distribution spec ("Error Codes"). Where none of them fits, we use a code of distribution's own API. */
type ErrorCode =
  | "BLOB_UPLOAD_UNKNOWN"
  | "DENIED"
  | "DIGEST_INVALID"
  | "MANIFEST_UNKNOWN"
  | "NAME_INVALID"
  | "NAME_UNKNOWN"
  | "QUERY_INVALID"
  | "SIZE_INVALID"
  | "UNAUTHORIZED"
  | "UNAVAILABLE"
  | "UNKNOWN"
  | "UNSUPPORTED";

const statuses: Readonly<Record<ErrorCode, number>> = {
  BLOB_UPLOAD_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  QUERY_INVALID: 400,
  SIZE_INVALID: 413,
  UNAUTHORIZED: 401,
  UNAVAILABLE: 503,
  UNKNOWN: 500,
  UNSUPPORTED: 405,
};

export type OciError = {
  readonly code: ErrorCode;
  readonly message: string;
  readonly detail?: unknown;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** More members next to `errors`, as in the answers of GitLab's token service. */
  readonly members?: Readonly<Record<string, unknown>>;
};

/** Returns the message of an answer's first error. Null if the body has no error in OCI form. */
export function messageIn(body: string): string | null {
  const errors = parseJsonObject(body)?.["errors"];
  const error: unknown = Array.isArray(errors) ? errors[0] : null;
  return isObject(error) && "message" in error && typeof error.message === "string" ? error.message : null;
}

const retryAfterSeconds = 5;

/** Makes the error for a fault that will pass. */
export const unavailable = (message: string): OciError => ({
  code: "UNAVAILABLE",
  message,
  headers: { "Retry-After": String(retryAfterSeconds) },
});
export const noAnswer = unavailable("the registry of this repository does not answer; try again");
export const bodyBroke = unavailable("the request's body broke off; send it again");
export const wrongAnswer: OciError = {
  code: "UNKNOWN",
  status: 502,
  message: "the registry of this repository answered wrongly",
};

export const apiVersionHeader = { "Docker-Distribution-Api-Version": "registry/2.0" } as const;

/** Formats the error in OCI form (distribution spec, "Error Codes"). Clients show the message, so it must not contain a secret. */
export function errorResponse(error: OciError): Response {
  const { code, message, detail } = error;
  const entry = detail === undefined ? { code, message } : { code, message, detail };
  return jsonResponse(
    { errors: [entry], ...error.members },
    {
      status: error.status ?? statuses[code],
      headers: { ...apiVersionHeader, ...error.headers },
    },
  );
}
