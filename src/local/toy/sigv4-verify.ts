import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { err, ok, type Result } from "../../lib/result.ts";
import { ALGORITHM, credentialScope, MAX_EXPIRES_SECONDS, type SigningCredentials, signature } from "./sigv4.ts";

/** S3's own error codes (API reference, "Error Responses"). */
export type StorageError = { readonly status: number; readonly code: string; readonly message: string };

const refuse = (code: string, message: string): Result<never, StorageError> => err({ status: 403, code, message });

type SignedQuery = {
  readonly amzDate: string;
  readonly signedAt: Date;
  readonly expiresSeconds: number;
  readonly headerNames: readonly string[];
  readonly signature: string;
};

/** S3 accepts URLs of a client whose clock is up to this much ahead. */
const MAX_CLOCK_AHEAD_MS = 15 * 60_000;

/** Returns the decoded path if the query has one valid signature by the storage's key and the request has no other authentication. */
export function verifySignature(
  request: IncomingMessage,
  credentials: SigningCredentials,
  now: Date,
): Result<string, StorageError> {
  const target = splitTarget(request.url ?? "");
  if (target === null) return refuse("AccessDenied", "the request's path or query is not well encoded");
  const { path, query } = target;
  const signed = parseSignedQuery(query, credentials);
  if (!signed.ok) return signed;
  if (request.headers.authorization !== undefined) {
    return err({
      status: 400,
      code: "InvalidArgument",
      message:
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
    });
  }
  const { amzDate, headerNames } = signed.value;
  const expected = signature(credentials, amzDate, {
    method: request.method ?? "",
    path,
    query: query.filter(([name]) => name !== "X-Amz-Signature"),
    signedHeaders: headerNames.map((name) => [name, headerText(request, name)]),
  });
  if (!sameSignature(expected, signed.value.signature)) {
    return refuse(
      "SignatureDoesNotMatch",
      "The request signature we calculated does not match the signature you provided",
    );
  }
  const refusal = outsideItsTime(signed.value, now) ?? unsignedHeader(request, headerNames);
  return refusal === null ? ok(path) : refuse("AccessDenied", refusal);
}

function parseSignedQuery(
  query: readonly (readonly [string, string])[],
  credentials: SigningCredentials,
): Result<SignedQuery, StorageError> {
  const value = (name: string): string => {
    const values = query.filter(([key]) => key === name).map(([, text]) => text);
    return values.length === 1 ? (values[0] ?? "") : "";
  };
  const wrong = (name: string) => refuse("AuthorizationQueryParametersError", `Error parsing the ${name} parameter`);
  if (!query.some(([name]) => name === "X-Amz-Signature")) return refuse("AccessDenied", "Access Denied");
  if (value("X-Amz-Algorithm") !== ALGORITHM) return wrong("X-Amz-Algorithm");
  const amzDate = value("X-Amz-Date");
  const signedAt = parseAmzDate(amzDate);
  if (signedAt === null) return wrong("X-Amz-Date");
  const [accessKeyId, ...scope] = value("X-Amz-Credential").split("/");
  if (accessKeyId !== credentials.accessKeyId) return refuse("InvalidAccessKeyId", "The access key is not known here");
  if (scope.join("/") !== credentialScope(credentials, amzDate)) return wrong("X-Amz-Credential");
  const expires = value("X-Amz-Expires");
  const expiresSeconds = /^\d{1,6}$/.test(expires) ? Number(expires) : 0;
  if (expiresSeconds < 1 || expiresSeconds > MAX_EXPIRES_SECONDS) return wrong("X-Amz-Expires");
  const headerNames = value("X-Amz-SignedHeaders").split(";");
  if (!headerNames.includes("host")) return wrong("X-Amz-SignedHeaders");
  return ok({ amzDate, signedAt, expiresSeconds, headerNames, signature: value("X-Amz-Signature") });
}

function parseAmzDate(text: string): Date | null {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second] = match;
  const date = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(date.getTime()) ? null : date;
}

function outsideItsTime({ signedAt, expiresSeconds }: SignedQuery, now: Date): string | null {
  if (now.getTime() > signedAt.getTime() + expiresSeconds * 1000) return "Request has expired";
  return signedAt.getTime() > now.getTime() + MAX_CLOCK_AHEAD_MS ? "Request is not valid yet" : null;
}

/**
 * Returns the message for a request with an `x-amz-…` header that is not signed, or null. S3 refuses such a request, because it acts on these
 * headers.
 */
function unsignedHeader(request: IncomingMessage, signed: readonly string[]): string | null {
  const found = Object.keys(request.headers).find((name) => name.startsWith("x-amz-") && !signed.includes(name));
  return found === undefined ? null : `There were headers present in the request which were not signed: ${found}`;
}

function headerText({ headers }: IncomingMessage, name: string): string {
  const value = headers[name];
  return typeof value === "string" ? value : (value ?? []).join(",");
}

function sameSignature(expected: string, given: string): boolean {
  // `timingSafeEqual` throws if the lengths differ. We may compare them in the usual way, because the length of a signature is not secret.
  return given.length === expected.length && timingSafeEqual(Buffer.from(expected), Buffer.from(given, "latin1"));
}

function splitTarget(url: string): { path: string; query: (readonly [string, string])[] } | null {
  const mark = url.indexOf("?");
  const [path, search] = mark < 0 ? [url, ""] : [url.slice(0, mark), url.slice(mark + 1)];
  const decode = (text: string) => decodeURIComponent(text.replaceAll("+", " "));
  try {
    const query = search
      .split("&")
      .filter((part) => part !== "")
      .map((part) => {
        const [name = "", ...value] = part.split("=");
        return [decode(name), decode(value.join("="))] as const;
      });
    return { path: decodeURIComponent(path), query };
  } catch {
    return null;
  }
}
