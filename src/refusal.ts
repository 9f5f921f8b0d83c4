import type { ChallengeError } from "./oci/challenge.ts";
import type { OciError } from "./oci/errors.ts";

/**
 * Every reason why a request is refused. `edge/refuse.ts` turns each reason into an OCI error. The client sees a `text` only if the reason's comment
 * says so. All other texts are only for the log, because they may name Pods and keys of the directory.
 */
export type Refusal = Reason & {
  /** The Pod of the request, for the log. */
  readonly pod?: string;
};

type Reason =
  /** The request itself is wrong, or asks for something that this registry does not do. The client gets `error`. */
  | { readonly reason: "refused"; readonly error: OciError }
  | Unauthorized
  /** The name has no Pod. A client learns this only if its verified token names the repository. */
  | { readonly reason: "name-unknown" }
  /** The operator has blocked the name or the digest. The operator wrote the text, and the client sees it. */
  | { readonly reason: "blocked"; readonly text: string }
  /** The Pod is down, or the Pod or the repository's group is read-only. The client sees the text. */
  | { readonly reason: "read-only" | "down"; readonly text: string }
  /** The name's group is being moved to another Pod, and writes are refused for some minutes. The client sees the text. */
  | { readonly reason: "moving"; readonly text: string }
  /** The operator does not let clients of this place or network use the group. The operator wrote the text, and the client sees it. */
  | { readonly reason: "client-denied"; readonly text: string }
  /** The request writes to a repository under its old name. The client sees the text, which says the new name. */
  | { readonly reason: "renamed"; readonly text: string }
  /** The client sent a POST, but the Pod's token service takes only GET. The edge answers 404, and clients then ask again with GET. */
  | { readonly reason: "no-form" }
  /**
   * The upload's pin is forged, expired, or was made for another upload. Or the pin's Pod was removed. Or the name has another Pod now, and the token
   * is good only there. The client must then begin a new upload.
   */
  | { readonly reason: "upload-unknown" }
  | DirectoryFailure
  | PodFailure
  | Misconfigured
  /** A Pod's answer leads to a place that is not the Pod's own. A client that went there would send its upload or token to that place. */
  | { readonly reason: "foreign-location"; readonly text: string }
  /** A bug, or a configuration that does not parse. */
  | { readonly reason: "internal"; readonly text: string };

export type Unauthorized = {
  readonly reason: "unauthorized";
  /** The `error` of the challenge; null if the request had no token. */
  readonly error: ChallengeError | null;
  /** What the token lacks. The client sees this text. */
  readonly text?: string;
  /** True if the token's part for another Pod allows the request. The name may just have moved to that Pod, so the edge reads the directory again. */
  readonly allowedElsewhere?: true;
};

/** The directory could not answer, because KV failed or a record in it is wrong. */
export type DirectoryFailure = { readonly reason: "directory"; readonly text: string };
/** The text of the `DirectoryFailure` if the edge looks up no more new names in KV, because too many were asked for. */
export const budgetSpent = "more new names were asked for than the edge looks up in 10 seconds";

/**
 * A Pod gave no answer that the edge can use.
 * - `unreachable`: the connection failed.
 * - `silent`: no answer came in time, or the Pod stopped reading the request's body.
 * - `breaker-open`: the last calls to the Pod failed, so the edge did not make this one.
 * - `bad-answer`: the edge cannot read the answer, or may not pass it on.
 * - `client-left`: the client left, or stopped sending its request's body. This is not a fault of the Pod.
 */
export type PodFailure = {
  readonly reason: "unreachable" | "silent" | "breaker-open" | "bad-answer" | "client-left";
  readonly text: string;
  /** True if no connection could be made at all. The same request would then fail again if the edge sent it once more. */
  readonly noConnection?: true;
};

/**
 * A record and the deployment do not fit together, for example because the deployment has no key that opens a sealed value. The text says which
 * record and which field, never a value.
 */
export type Misconfigured = { readonly reason: "misconfigured"; readonly text: string };
