import { type Grant, grantFor, identify } from "../auth/grant.ts";
import { defaultPod } from "../directory/directory.ts";
import { type Resolution, resolvePod } from "../directory/resolve.ts";
import { jsonResponse } from "../lib/json-response.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { digestOf, type NamelessEndpoint, type RepositoryEndpoint } from "../oci/endpoint.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import { countParameter, parameter } from "../oci/query.ts";
import { type Access, isRead, requiredAccess } from "../oci/scope.ts";
import { stateRefusal } from "../pods/state.ts";
import { openPin, pinParameter } from "../pods/upload-pin.ts";
import type { Trace } from "../telemetry/record.ts";
import { serveCatalog } from "./catalog.ts";
import type { Authorized, Context } from "./context.ts";
import { forward } from "./forward.ts";
import { type Answer, type AnyRefusal, refuse } from "./refuse.ts";

/** `/v2/` is answered here for a token that verifies; what else names no repository is for the token's own Pod. */
export async function serveNameless(context: Context<NamelessEndpoint>): Promise<Answer> {
  const { endpoint, services, token, challenger } = context;
  if (endpoint.kind === "catalog") return serveCatalog({ ...context, endpoint });
  if (token === null) return endpoint.kind === "base" ? pong() : forwardToDefault(context);
  const identified = await identify(token, services.directory, services.now);
  if (!identified.ok) return refuse(identified.error, endpoint, challenger);
  if (endpoint.kind === "base" && identified.value.grant.kind === "granted") return pong();
  return forward(context, identified.value);
}

async function forwardToDefault(context: Context<NamelessEndpoint>): Promise<Answer> {
  const { endpoint, services, challenger } = context;
  const pod = await defaultPod(services.directory);
  if (!pod.ok) return refuse(pod.error, endpoint, challenger);
  if (pod.value === null) return refuse({ reason: "name-unknown" }, endpoint, challenger);
  return forward(context, { pod: pod.value, grant: { kind: "open" } });
}

/** end-1. */
const pong = (): Answer => ({
  response: jsonResponse({}, { headers: apiVersionHeader }),
  outcome: "ping",
  endpoint: "base",
});

/**
 * Where a request goes, and with what. Tokens are asked for by the directory of seconds ago, so one that another Pod gave for this name
 * tells that the name has moved, and that this isolate does not know yet: it looks again before it refuses.
 */
export async function admit(context: Context<RepositoryEndpoint>): Promise<Result<Authorized, AnyRefusal>> {
  const admitted = await admitBy(context);
  if (admitted.ok || context.token === null || !mayHaveMoved(admitted.error)) return admitted;
  const { services } = context;
  return admitBy({ ...context, services: { ...services, directory: services.recentDirectory } });
}

const mayHaveMoved = (refusal: AnyRefusal): boolean =>
  refusal.reason === "name-unknown" || (refusal.reason === "unauthorized" && refusal.allowedElsewhere === true);

async function admitBy(context: Context<RepositoryEndpoint>): Promise<Result<Authorized, AnyRefusal>> {
  const located = await locate(context);
  return located.ok ? authorize(context, located.value) : located;
}

/** The Pod of the name; an upload stays with the Pod that its push location was sealed for. */
async function locate({ endpoint, services }: Context<RepositoryEndpoint>): Promise<Result<Resolution, AnyRefusal>> {
  const resolution = await resolvePod(services.directory, endpoint.name, digestOf(endpoint));
  if (!resolution.ok || endpoint.kind !== "upload") return resolution;
  const pins = countParameter(endpoint.query, pinParameter);
  if (pins === 0) return resolution;
  const pin = pins === 1 ? (parameter(endpoint.query, pinParameter) ?? "") : "";
  const pinned = { repository: endpoint.name, upload: endpoint.upload };
  const { config, now } = services;
  const id = await openPin(pin, pinned, { edgeKeys: config.edgeKeys, now });
  if (id === null) return err({ reason: "upload-unknown" });
  const pod = await services.directory.pod(id);
  return pod.ok ? ok({ ...resolution.value, pod: pod.value }) : pod;
}

/** The grant at the Pod, if the operators let such a request through at all. */
async function authorize(
  context: Context<RepositoryEndpoint>,
  { pod, blocked }: Resolution,
): Promise<Result<Authorized, AnyRefusal>> {
  const { endpoint, services, token } = context;
  // The first is the endpoint's own; what else a request reads, a mount's source, is for the Pod to check.
  const [wanted] = requiredAccess(endpoint) as readonly [Access];
  const open: Result<Grant, AnyRefusal> = ok({ kind: "open" });
  const grant = token === null ? open : await grantFor(token, pod, wanted, services.directory, services.now);
  if (!grant.ok) return grant;
  const refused = refusalOf(endpoint, { pod, blocked }, services.trace);
  // By a token that nobody has judged a name must read as one without a Pod.
  if (refused !== null) return err(grant.value.kind === "undecided" ? unjudged : refused);
  if (pod === null) return err({ reason: "name-unknown" });
  return ok({ pod, grant: grant.value });
}

const unjudged = { reason: "unauthorized", error: "invalid_token" } as const;

/** What operators let nobody do; and what may not rest on a directory read before KV failed: a push to a Pod of yesterday is lost, and a name may have come since. */
function refusalOf(
  { method }: RepositoryEndpoint,
  { pod, blocked }: Resolution,
  { kvFailure }: Trace,
): AnyRefusal | null {
  if (blocked !== null) return { reason: "blocked", text: blocked };
  if (kvFailure !== undefined && (pod === null || !isRead(method))) return { reason: "directory", text: kvFailure };
  return pod === null ? null : stateRefusal(pod, method);
}
