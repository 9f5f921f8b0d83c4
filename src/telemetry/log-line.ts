import { hasMoreParameters, MAX_TOKEN_PARAMETERS, readParameters } from "../oci/query.ts";

/** The one word in the log that says what answered a request. */
export type Outcome =
  | "challenged"
  | "health"
  | "ping"
  | "preflight"
  | "redirected"
  | "forwarded"
  | "streamed"
  /** The edge answered with a manifest that it holds for as long as a proof lives. */
  | "kept"
  /** The edge answered from what it holds, because the Pod's registry or its token service failed. */
  | "stale"
  | "merged"
  | "token"
  | "probed"
  | "blocked"
  | "refused"
  | "unavailable"
  /** The answer had begun, but its body broke off or stalled. */
  | "broken"
  /** The client went away, or stopped in the middle of its request. */
  | "client-left"
  | "failed";

/** What a request cost in look-ups and calls, and what it met on the way. It is for the log only: no decision reads it. */
export type Trace = {
  kvReads: number;
  /** The keys in those reads. KV charges for keys. */
  kvKeys: number;
  /** Repeated requests are counted too. */
  podRequests: number;
  /** Why KV did not answer, when older values were used instead. */
  kvFailure?: string;
  /** Where the proof for a signed URL came from. */
  proof?: "memory" | "cache" | "manifest" | "head";
  /** The Pod broke off a manifest, and the rest of it came from the copy that the edge holds. */
  completed?: true;
  /** The Pods whose token service failed, so that the edge granted a pull by itself, or that such a grant was used for. */
  grace?: string;
  /** Which store that fits the client was passed over, and why. */
  passedOver?: string;
};

/** One request, as the log has it. Bytes are null if the length was not announced (chunked), because the edge does not count what passes. */
export type RequestRecord = {
  readonly log: "edge";
  readonly at: string;
  readonly method: string;
  readonly path: string;
  /** 499: the client left before there was an answer. */
  readonly status: number;
  readonly outcome: Outcome;
  readonly endpoint: string;
  readonly repository?: string;
  readonly pod?: string;
  /** The reason, where the answer is vague on purpose. It names keys and Pods, never a secret. */
  readonly cause?: string;
  readonly requestBytes: number | null;
  readonly responseBytes: number | null;
  /** The time until the answer, or until the end of a body that came from a Pod. */
  readonly ms: number;
} & Readonly<Trace>;

/** In the registry API and in token requests, these parameters hold no credential. Any other name may be a Pod's or a storage's, or a mistyped one. */
const harmlessParameters = [
  ...["digest", "mount", "from", "origin", "n", "last", "_after", "artifactType", "ns"],
  ...["scope", "service", "client_id", "offline_token", "pod"],
];

/** Returns path and query for the log. An upload's query is the Pod's own, and any value in it may be the Pod's signed state. */
export function redactPath(url: URL): string {
  const query = url.search.slice(1);
  if (query === "") return url.pathname;
  if (hasMoreParameters(query, MAX_TOKEN_PARAMETERS)) {
    return `${url.pathname}?more-than-${MAX_TOKEN_PARAMETERS}-parameters`;
  }
  const isUpload = /\/blobs\/uploads\/./.test(url.pathname);
  const isHarmless = (name: string, text: string) => text === "" || (!isUpload && harmlessParameters.includes(name));
  const shown = readParameters(query).map(({ name, text }) => (isHarmless(name, text) ? text : redacted(name, text)));
  return `${url.pathname}?${shown.join("&")}`;
}

/**
 * If a parameter has no value, its name may be the secret, such as a token that was pasted or that ends in `=`. Names are decoded, so only a plain name
 * is shown: another may hold a value, or what a terminal takes for a command.
 */
const redacted = (name: string, text: string): string =>
  /^[\w.-]{1,64}$/.test(name) && /=[^=]/.test(text) ? `${name}=redacted` : "redacted";
