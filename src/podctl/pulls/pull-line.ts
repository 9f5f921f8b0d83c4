import * as v from "valibot";
import { isoTime } from "../../lib/iso-time.ts";
import { parseJsonObject } from "../../lib/json.ts";
import { requestsOf } from "../replay/lines.ts";

/** What a line of the edge's log says about a pull (telemetry/log-line.ts). */
export type PullLine = {
  readonly atMs: number;
  readonly digest: string;
  readonly repository: string;
  readonly who: Who;
  readonly requests: number;
};

/** `subject` is the user's name, or null if the token named no user or the edge could not verify the token. */
export type Who = {
  readonly subject: string | null;
  readonly client: string | null;
  readonly country: string | null;
  readonly asn: number | null;
  readonly userAgent: string | null;
};

/**
 * `other`: a request that is no pull, or another line of the Worker. `unread`: the line is not from the edge's log. `sample` is the chance, from 0 to
 * 1, with which the edge wrote this line.
 */
type LoggedPull =
  | { readonly kind: "pull"; readonly sample: number; readonly pull: PullLine }
  | { readonly kind: "other"; readonly sample: number }
  | { readonly kind: "unread" };

const optionalText = v.optional(v.pipe(v.string(), v.maxLength(1_000)));
const schema = v.object({
  at: isoTime,
  method: v.string(),
  status: v.number(),
  endpoint: v.string(),
  sample: v.optional(v.number()),
  digest: optionalText,
  repository: optionalText,
  subject: optionalText,
  client: optionalText,
  country: optionalText,
  asn: v.optional(v.number()),
  userAgent: optionalText,
});

/** A pull is a GET of a blob or manifest that was answered with content or a redirect, even if the answer broke off later. */
export function readPullLine(line: string): LoggedPull {
  const json = parseJsonObject(line);
  if (json === null || typeof json["log"] !== "string") return { kind: "unread" };
  if (json["log"] !== "edge") return { kind: "other", sample: 1 };
  const parsed = v.safeParse(schema, json);
  const requests = requestsOf(json["sample"]);
  if (!parsed.success || requests === null) return { kind: "unread" };
  const { at, method, status, endpoint, sample = 1, digest, repository, ...who } = parsed.output;
  const isContent = endpoint === "blob" || endpoint === "manifest";
  const isPull = method === "GET" && isContent && [200, 206, 307].includes(status);
  if (!isPull || digest === undefined || repository === undefined) return { kind: "other", sample };
  return { kind: "pull", sample, pull: { atMs: Date.parse(at), digest, repository, who: knownOf(who), requests } };
}

const knownOf = (who: { readonly [Member in keyof Who]?: Who[Member] | undefined }): Who => ({
  subject: who.subject ?? null,
  client: who.client ?? null,
  country: who.country ?? null,
  asn: who.asn ?? null,
  userAgent: who.userAgent ?? null,
});
