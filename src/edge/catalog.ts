import { grantFor, jwtOf } from "../auth/grant.ts";
import { allPods, type Pod } from "../directory/directory.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { textWithin } from "../net/body.ts";
import type { NamelessEndpoint } from "../oci/endpoint.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import { requiredAccess } from "../oci/scope.ts";
import { podRequest } from "../pods/request.ts";
import type { Authorized, Context } from "./context.ts";
import { forward } from "./forward.ts";
import {
  type CatalogPage,
  DEFAULT_ENTRIES,
  mergeCatalog,
  parsePlaces,
  readPage,
  withoutPlaces,
} from "./merge-catalog.ts";
import { type Answer, type AnyRefusal, refuse } from "./refuse.ts";

type CatalogEndpoint = Extract<NamelessEndpoint, { kind: "catalog" }>;
type CatalogContext = Context<CatalogEndpoint>;

/** `objected`: the request itself was wrong, its page size above all; the answer says how. */
type Asked =
  | { readonly kind: "page"; readonly page: CatalogPage }
  | { readonly kind: "objected"; readonly text: string; readonly contentType: string }
  | { readonly kind: "denied" | "down" };

/** One list of all Pods' repositories. A Pod that refuses, or is down, makes it an error: a short list would look complete. */
export async function serveCatalog(context: CatalogContext): Promise<Answer> {
  const { endpoint, services, challenger } = context;
  const refused = (refusal: AnyRefusal) => refuse(refusal, endpoint, challenger);
  const pods = await allPods(services.directory);
  if (!pods.ok) return refused(pods.error);
  const granted = await grantAll(context, pods.value);
  if (!granted.ok) return refused(granted.error);
  const [first, ...others] = granted.value;
  if (first === undefined) return refused({ reason: "unauthorized", error: "insufficient_scope" });
  // One Pod's own catalog needs no merging.
  if (others.length === 0 && first.pod.state !== "down") return forward(context, first);
  const asked = await Promise.all(granted.value.map((each) => askCatalog(context, each)));
  return answerOf(asked, entriesOf(endpoint), refused);
}

/** The token's grant at every Pod; else how many Pods it is none for. */
async function grantAll(
  { endpoint, services, token }: CatalogContext,
  pods: readonly Pod[],
): Promise<Result<readonly Authorized[], AnyRefusal>> {
  const { own } = requiredAccess(endpoint);
  const grants = await Promise.all(
    pods.map(async (pod) => (token === null ? openGrant : grantFor(token, pod, own, services.directory, services.now))),
  );
  const refusals = grants.flatMap((grant) => (grant.ok ? [] : [grant.error]));
  const [refusal] = refusals;
  if (refusal?.reason === "unauthorized") {
    return err({
      ...refusal,
      text: `this token lists no repositories of ${ofRegistries(refusals.length, pods.length)}`,
    });
  }
  if (refusal !== undefined) return err(refusal);
  return ok(pods.flatMap((pod, index) => (grants[index]?.ok ? [{ pod, grant: grants[index].value }] : [])));
}

const MAX_OBJECTION_BYTES = 16 * 1024;
const openGrant = ok({ kind: "open" } as const);
const entriesOf = ({ n }: CatalogEndpoint): number => (n !== null && /^\d{1,6}$/.test(n) ? Number(n) : DEFAULT_ENTRIES);
const ofRegistries = (some: number, all: number): string => `${some} of ${all} registries`;

async function askCatalog({ endpoint, request, services }: CatalogContext, to: Authorized): Promise<Asked> {
  const { pod, grant } = to;
  if (pod.state === "down") return { kind: "down" };
  const place = parsePlaces(endpoint.query).get(pod.id);
  const last = place === undefined ? endpoint.last : place;
  const n = endpoint.n ?? String(DEFAULT_ENTRIES);
  const own = { ...endpoint, query: withoutPlaces(endpoint.query), n, last };
  const answer = await services.fetchPod(pod, podRequest(pod, own, jwtOf(grant), request));
  if (!answer.ok) return { kind: "down" };
  const { status, body } = answer.value;
  if (status === 200) {
    const page = await readPage(answer.value, pod.id, last);
    return page === null ? { kind: "down" } : { kind: "page", page };
  }
  if (status === 400) {
    const text = await textWithin(answer.value, MAX_OBJECTION_BYTES);
    const contentType = answer.value.headers.get("Content-Type") ?? "application/json";
    return text === null ? { kind: "down" } : { kind: "objected", text, contentType };
  }
  await body?.cancel();
  return { kind: status === 401 || status === 403 ? "denied" : "down" };
}

function answerOf(asked: readonly Asked[], entries: number, refused: (refusal: AnyRefusal) => Answer): Answer {
  const pages = asked.flatMap((each) => (each.kind === "page" ? [each.page] : []));
  if (pages.length === asked.length)
    return { response: mergeCatalog(pages, entries), outcome: "merged", endpoint: "catalog" };
  const down = asked.filter(({ kind }) => kind === "down").length;
  if (down > 0)
    return refused({ reason: "down", text: `${ofRegistries(down, asked.length)} gave no catalog; try again` });
  const denied = asked.filter(({ kind }) => kind === "denied").length;
  const message = `${ofRegistries(denied, asked.length)} refused their catalog`;
  if (denied > 0) return refused({ reason: "refused", error: { code: "DENIED", message } });
  const objected = asked.find((each) => each.kind === "objected");
  if (objected === undefined) throw new Error("a catalog that is no page, denied, down or objected to");
  const headers = { ...apiVersionHeader, "Content-Type": objected.contentType, "Cache-Control": "no-store" };
  return {
    response: new Response(objected.text, { status: 400, headers }),
    outcome: "forwarded",
    endpoint: "catalog",
  };
}
