import { MAX_PARTS } from "../auth/bundle.ts";
import { grantFor, jwtOf, type PodGrant } from "../auth/grant.ts";
import { allPods, type Pod } from "../directory/directory.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { checkHeaderCount } from "../net/headers.ts";
import { textWithin } from "../net/within.ts";
import type { NamelessEndpoint } from "../oci/endpoint.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import { requiredAccess } from "../oci/scope.ts";
import { passPod } from "../pods/gate.ts";
import { podRequest } from "../pods/request.ts";
import { notAPage } from "../pods/rewrite.ts";
import type { DirectoryFailure, Refusal } from "../refusal.ts";
import type { Context } from "./authorize.ts";
import { type CatalogPage, MAX_PAGE_NAMES, MAX_READABLE_NAMES, readPage } from "./catalog-page.ts";
import { forward } from "./forward.ts";
import { DEFAULT_ENTRIES, mergeCatalog, parsePlaces, withoutPlaces } from "./merge-catalog.ts";
import type { Reply } from "./refuse.ts";

type CatalogEndpoint = Extract<NamelessEndpoint, { readonly kind: "catalog" }>;
type Granted = { readonly pod: Pod; readonly grant: PodGrant };

/**
 * How a Pod answers a request for its catalog. `objected`: the Pod answered 400, most often because of the page size, and `text` is its answer.
 * `unresolved`: the directory could not say which of the listed names belong to the Pod.
 */
type PodCatalog =
  | { readonly kind: "page"; readonly page: CatalogPage }
  | { readonly kind: "objected"; readonly text: string; readonly contentType: string }
  | { readonly kind: "denied" | "down" }
  | { readonly kind: "unresolved"; readonly failure: DirectoryFailure };

/** Serves one list of all Pods' repositories. If a Pod refuses or is down, the answer is an error, because a short list would look complete. */
export async function serveCatalog(endpoint: CatalogEndpoint, context: Context): Promise<Reply> {
  const counted = checkHeaderCount(context.request.headers);
  if (!counted.ok) return counted;
  const tooMany = await refuseTooManyPods(endpoint, context);
  if (tooMany !== null) return tooMany;
  const pods = await allPods(context.services.directory);
  if (!pods.ok) return pods;
  const granted = await grantAll(endpoint, pods.value, context);
  if (!granted.ok) return granted;
  const [first, ...others] = granted.value;
  if (first === undefined) return err({ reason: "unauthorized", error: "insufficient_scope" });
  if (others.length === 0) return forwardToOnly(endpoint, first, context);
  const answers = await Promise.all(
    granted.value.map((each) => askCatalog(endpoint, { ...each, podCount: granted.value.length }, context)),
  );
  return mergeAnswers(answers, entriesOf(endpoint));
}

/**
 * If there are more than `MAX_PARTS` Pods, no token can have a part for each Pod's catalog. The edge then refuses the token at once, without reading
 * the records of perhaps hundreds of Pods.
 */
async function refuseTooManyPods(endpoint: CatalogEndpoint, { services, token }: Context): Promise<Reply | null> {
  const record = await services.directory.record();
  if (!record.ok) return record;
  const listed = record.value.pods?.length ?? 0;
  if (token === null || listed <= MAX_PARTS) return null;
  const { own: wanted } = requiredAccess(endpoint);
  const grant = await grantFor(token, { pod: null, wanted }, services);
  const isInvalid = !grant.ok && grant.error.reason === "unauthorized" && grant.error.error === "invalid_token";
  const text = `this token may not list ${ofRegistries(listed - MAX_PARTS, listed)}`;
  return err({ reason: "unauthorized", error: isInvalid ? "invalid_token" : "insufficient_scope", text });
}

async function forwardToOnly(endpoint: CatalogEndpoint, { pod, grant }: Granted, context: Context): Promise<Reply> {
  const admitted = passPod(endpoint.method, pod);
  if (!admitted.ok) return admitted;
  const nameless = { assignment: null, moving: null, oldName: null };
  const reply = await forward(endpoint, { context, authorized: { pod: admitted.value, grant, ...nameless } });
  return reply.ok ? ok({ ...reply.value, pod: pod.id }) : reply;
}

async function grantAll(
  endpoint: CatalogEndpoint,
  pods: readonly Pod[],
  { services, token }: Context,
): Promise<Result<readonly Granted[], Refusal>> {
  const { own: wanted } = requiredAccess(endpoint);
  const granted: Granted[] = [];
  const refusals: Refusal[] = [];
  // We check the token at one Pod after the other. The first check remembers which parts of the token verify, so the next checks take less time.
  for (const pod of pods) {
    const grant = token === null ? openGrant : await catalogGrant(token, { pod, wanted }, services);
    if (grant.ok) granted.push({ pod, grant: grant.value });
    else refusals.push(grant.error);
  }
  const [refusal] = refusals;
  if (refusal?.reason === "unauthorized") {
    return err({
      ...refusal,
      text: `this token may not list ${ofRegistries(refusals.length, pods.length)}; ask for registry:catalog:*`,
    });
  }
  if (refusal !== undefined) return err(refusal);
  return ok(granted);
}

/** A grant of the edge's own is refused, because it allows only pulls. */
async function catalogGrant(...asked: Parameters<typeof grantFor>): Promise<Result<PodGrant, Refusal>> {
  const grant = await grantFor(...asked);
  if (!grant.ok) return grant;
  const { value } = grant;
  return value.kind === "edge" ? err({ reason: "unauthorized", error: "insufficient_scope" }) : ok(value);
}

const MAX_OBJECTION_BYTES = 16 * 1024;
const openGrant = ok<PodGrant>({ kind: "open" });
const entriesOf = ({ n }: CatalogEndpoint): number => (n !== null && /^\d{1,6}$/.test(n) ? Number(n) : DEFAULT_ENTRIES);
/**
 * Returns the page size that a Pod is asked for. If a page of the client's `n` names may be too large to read, the Pod is asked for fewer. Any other
 * `n` goes to the Pod unchanged, even a malformed one, which the Pod refuses in its own words.
 */
const pageSize = ({ n }: CatalogEndpoint): string =>
  n !== null && /^\d+$/.test(n) && Number(n) > MAX_READABLE_NAMES
    ? String(MAX_PAGE_NAMES)
    : (n ?? String(DEFAULT_ENTRIES));
const ofRegistries = (some: number, all: number): string => `${some} of ${all} registries`;

async function askCatalog(
  endpoint: CatalogEndpoint,
  { pod, grant, podCount }: Granted & { readonly podCount: number },
  { request, services }: Context,
): Promise<PodCatalog> {
  const admitted = passPod(endpoint.method, pod);
  if (!admitted.ok) return { kind: "down" };
  const place = parsePlaces(endpoint.query).get(pod.id);
  const last = place === undefined ? endpoint.last : place;
  const n = pageSize(endpoint);
  const own = { ...endpoint, query: withoutPlaces(endpoint.query), n, last };
  const answer = await services.callRegistry(admitted.value, podRequest(pod, own, { jwt: jwtOf(grant), request }));
  if (!answer.ok) return { kind: "down" };
  const { status, body } = answer.value;
  if (status === 200) {
    const page = await readPage(answer.value, { pod: pod.id, after: last, directory: services.directory, podCount });
    if (!page.ok) return { kind: "unresolved", failure: page.error };
    return page.value === null ? { kind: "down" } : { kind: "page", page: page.value };
  }
  if (status === 400) {
    const text = await textWithin(answer.value, MAX_OBJECTION_BYTES);
    const contentType = answer.value.headers.get("Content-Type") ?? "application/json";
    return text === null ? { kind: "down" } : { kind: "objected", text, contentType };
  }
  await body?.cancel();
  return { kind: status === 401 || status === 403 ? "denied" : "down" };
}

function mergeAnswers(answers: readonly PodCatalog[], entries: number): Reply {
  const pages = answers.flatMap((each) => (each.kind === "page" ? [each.page] : []));
  if (pages.length === answers.length) return ok({ response: mergeCatalog(pages, entries), outcome: "merged" });
  const unresolved = answers.find((each) => each.kind === "unresolved");
  if (unresolved !== undefined) return err(unresolved.failure);
  const down = answers.filter(({ kind }) => kind === "down").length;
  if (down > 0)
    return err({ reason: "down", text: `${ofRegistries(down, answers.length)} gave no catalog; try again` });
  const denied = answers.filter(({ kind }) => kind === "denied").length;
  const message = `${ofRegistries(denied, answers.length)} refused their catalog`;
  if (denied > 0) return err({ reason: "refused", error: { code: "DENIED", message } });
  const objected = answers.find((each) => each.kind === "objected");
  if (objected === undefined) throw new Error("a catalog that is neither a page, denied, down nor objected to");
  const own = { "Content-Type": objected.contentType, "Cache-Control": "no-store" };
  const headers = { ...apiVersionHeader, ...own, ...notAPage };
  return ok({ response: new Response(objected.text, { status: 400, headers }), outcome: "forwarded" });
}
