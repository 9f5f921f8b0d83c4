import { hasMoreParameters, MAX_TOKEN_PARAMETERS, readParameters } from "../oci/query.ts";

/** What answered a request, in one word. */
export type Outcome =
  | "challenged"
  | "health"
  | "ping"
  | "preflight"
  | "redirected"
  | "forwarded"
  | "streamed"
  /** The Pod's gateway copied a blob from another Pod's store. */
  | "mounted"
  /** The edge answered with its own copy of a manifest, which is not older than the Pod's `proofTtlSeconds`. */
  | "kept"
  /** The edge answered from its own copies, because the Pod's registry or token service failed. */
  | "stale"
  | "merged"
  | "token"
  | "probed"
  | "blocked"
  | "refused"
  | "unavailable"
  /** The answer's status was sent, but its body broke off or stalled. */
  | "broken"
  /** The client went away, or stopped in the middle of its request. */
  | "client-left"
  | "failed";

/** What a request cost in look-ups and calls, and what else happened to it. These values are only for the log; no decision depends on them. */
export type Trace = {
  kvReads: number;
  /** How many keys the KV reads asked for in all. Cloudflare charges for each key. */
  kvKeys: number;
  /** How many requests were sent to Pods. Each repeat counts. */
  podRequests: number;
  /** The reason why KV did not answer, if older values were used instead. */
  kvFailure?: string;
  /** Where the proof for a signed URL came from. */
  proof?: "memory" | "cache" | "manifest" | "head";
  /** The Pod broke off a manifest, and the edge sent the missing bytes from its own copy. */
  completed?: true;
  /**
   * The Pods whose token service failed and whose pulls the edge allowed by itself. Either the edge gave its grant for this request, or an earlier
   * grant of the edge came with the request.
   */
  grace?: string;
  /** Why a blob was not mounted from another Pod, so that an upload began instead. */
  notMounted?: string;
  /** The stores that fit the client but were passed over, each with its reason. */
  passedOver?: string;
  /**
   * The `sub` of the verified token: the user's name, as the Pod that issued the token knows it. Pods do not trust each other, so two Pods may mean
   * two users by one name.
   */
  subject?: string;
};

/** One request in the log. A member that is undefined is not in the line. */
export type RequestRecord = {
  readonly log: "edge";
  readonly at: string;
  /** The share of the requests like this one that get a line, above 0 and at most 1. So the line represents `1 / sample` requests. */
  readonly sample: number;
  readonly method: string;
  readonly path: string;
  /** 499: the client left before there was an answer. */
  readonly status: number;
  readonly outcome: Outcome;
  readonly endpoint: string;
  readonly repository: string | undefined;
  /** The digest in the request. If the request names a tag, this is the digest in the answer. */
  readonly digest: string | undefined;
  readonly pod: string | undefined;
  /** The real reason, if the answer to the client is vague on purpose. It names keys and Pods, never a secret. */
  readonly cause: string | undefined;
  /** Null, like `responseBytes`, if the length was not announced (chunked), because the edge does not count the bytes of a body. */
  readonly requestBytes: number | null;
  readonly responseBytes: number | null;
  /** Milliseconds until the answer or, if the body came from a Pod, until the end of the body. */
  readonly ms: number;
} & Readonly<Trace> &
  Asker;

/** Who sent a request, according to the platform and the client. What is not known is undefined. */
export type Asker = {
  /** The client's address. */
  readonly client: string | undefined;
  /** ISO 3166-1 alpha-2, or `T1` for Tor. */
  readonly country: string | undefined;
  readonly asn: number | undefined;
  readonly userAgent: string | undefined;
  /** Cloudflare's id of the request. By this id, the request is found in Cloudflare's other logs. */
  readonly ray: string | undefined;
};

/**
 * Cuts text of a client or Pod for the log, and replaces unfit characters: control and format characters, line ends, and those without a meaning in
 * Unicode. A terminal or an editor would not show them as they are. The cut may leave half of a character, which is replaced too.
 */
export const plainText = (text: string, maxCharacters: number): string =>
  text.slice(0, maxCharacters).replaceAll(/[\p{C}\u2028\u2029]/gu, "\ufffd");

/**
 * These parameters of the registry API and of token requests contain no credential. Any other may contain one: it may belong to a Pod or a storage,
 * or its name may be mistyped.
 */
const harmlessParameters = [
  ...["digest", "mount", "from", "origin", "n", "last", "_after", "artifactType", "ns"],
  ...["scope", "service", "client_id", "offline_token", "pod"],
];

/**
 * The log cuts a path and a query at this length, because a stranger can send a URL of 16 KB. An honest request is longer only if it asks for a token
 * for more than about thirty repositories.
 */
const maxLoggedCharacters = 2_000;
const cutMark = "…";

/**
 * Returns path and query for the log, each cut at `maxLoggedCharacters`. The query of an upload comes from the Pod, and any of its values may be the
 * Pod's signed state. So all of these values are hidden.
 */
export function redactPath({ pathname, search }: URL): string {
  const path = withMark(pathname.slice(0, maxLoggedCharacters), pathname);
  const whole = search.slice(1);
  if (whole === "") return path;
  if (hasMoreParameters(whole, MAX_TOKEN_PARAMETERS)) return `${path}?more-than-${MAX_TOKEN_PARAMETERS}-parameters`;
  const query = whole.slice(0, maxLoggedCharacters);
  const isUpload = /\/blobs\/uploads\/./.test(path);
  const isHarmless = (name: string, text: string) => text === "" || (!isUpload && harmlessParameters.includes(name));
  const shown = readParameters(query).map(({ name, text }) => (isHarmless(name, text) ? text : redacted(name, text)));
  return `${path}?${withMark(shown.join("&"), whole)}`;
}

const withMark = (shown: string, whole: string): string =>
  whole.length > maxLoggedCharacters ? `${shown}${cutMark}` : shown;

/**
 * Returns a parameter without its value. A name without a value is hidden too, because it may be a token that was pasted into the query. A name with
 * unusual characters is hidden, because it may contain an escaped `=` with a secret after it, or characters that control a terminal.
 */
const redacted = (name: string, text: string): string =>
  /^[\w.-]{1,64}$/.test(name) && /=[^=]/.test(text) ? `${name}=redacted` : "redacted";
