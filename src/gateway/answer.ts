import { err, ok, type Result } from "../lib/result.ts";
import { errorResponse, type OciError } from "../oci/errors.ts";
import { withoutParameters, withParameters } from "../oci/query.ts";
import { ownParameters } from "../pods/push-location.ts";
import { notAPage } from "../pods/rewrite.ts";
import { tooLarge } from "../pods/too-large.ts";
import { pinParameter } from "../pods/upload-pin.ts";
import { bytesOfRange, sizeParameter } from "../pods/upload-size.ts";
import type { Admitted } from "./admit.ts";
import type { GatewayConfig } from "./config.ts";
import { readRegistryLocation } from "./registry-location.ts";
import type { RegistryAnswer } from "./relay.ts";

/**
 * The headers of a registry's answer that a client needs for its upload. `WWW-Authenticate` is not among them, because it names the Pod's own token
 * service, and clients would send the user's password there.
 */
const passed = ["content-type", "range", "retry-after", "warning", "docker-upload-uuid", "docker-content-digest"];
const passedPrefixes = ["oci-", "gitlab-", "docker-distribution-"];

type AnswerContext = {
  readonly admitted: Admitted;
  readonly config: GatewayConfig;
  /** The body's length if the request announced it, else null. */
  readonly requestBytes: number | null;
};

/** Makes the client's answer from the registry's. The error is for the log, and says why the registry's answer does not pass. */
export function answerFrom(answer: RegistryAnswer, context: AnswerContext): Result<Response, string> {
  const { status, body } = answer;
  if (status < 200 || (status >= 300 && status < 400) || status > 599) {
    return err(`the registry answered with status ${status}`);
  }
  const text = body === null ? "" : body.toString("utf8");
  const error: OciError | null = status === 413 ? tooLarge(text, context.requestBytes) : null;
  if (error !== null) return ok(errorResponse(error));
  const headers = passedHeaders(answer);
  const { location } = answer.headers;
  if (location !== undefined) {
    const place = locationOnEdge(location, answer, context);
    if (place === null) return err(`Location of a ${status} leads away from the upload`);
    headers.set("Location", place);
  }
  const isBodyless = status === 204 || status === 205 || body === null;
  if (isBodyless) headers.delete("Content-Type");
  return ok(new Response(isBodyless ? null : new Uint8Array(body), { status, headers }));
}

function passedHeaders({ headers }: RegistryAnswer): Headers {
  const kept = new Headers({ "Cache-Control": "no-store", ...notAPage });
  for (const [name, value] of Object.entries(headers)) {
    const isPassed = passed.includes(name) || passedPrefixes.some((prefix) => name.startsWith(prefix));
    if (isPassed && value !== undefined) kept.set(name, typeof value === "string" ? value : value.join(", "));
  }
  return kept;
}

/** Returns the URL of the client's next request, which goes to the edge. Null unless `Location` names this upload, or a blob of its repository. */
function locationOnEdge(
  text: string,
  { status, headers }: RegistryAnswer,
  { admitted, config }: AnswerContext,
): string | null {
  const { grant, endpoint } = admitted;
  const { edge } = grant;
  const registries = [config.registry, grant.registry];
  const target = readRegistryLocation(text, status, { registries, endpoint, edgeOrigin: edge });
  if (target === null) return null;
  const { path, query } = target;
  if (target.endpoint.kind !== "upload") return edge + path + (query === "" ? "" : `?${query}`);
  if (target.endpoint.upload !== grant.upload) return null;
  const state = withoutParameters(query, ownParameters);
  const uploadedBytes = bytesOfRange(headers.range ?? null);
  const size = uploadedBytes === null ? {} : { [sizeParameter]: String(uploadedBytes) };
  return `${edge}${path}?${withParameters(state, { [pinParameter]: grant.pin, ...size })}`;
}
