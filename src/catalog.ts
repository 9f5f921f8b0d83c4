import { type Answer, type AnyRefusal, refuse } from "./answer.ts";
import { grantFor } from "./auth/authenticate.ts";
import type { Token } from "./auth/bundle.ts";
import type { Authorized, Context } from "./context.ts";
import type { NamelessEndpoint } from "./oci/endpoint.ts";
import { type Access, requiredAccess } from "./oci/scope.ts";
import { type CatalogPage, mergeCatalog, pageSize, readPage } from "./pods/catalog.ts";
import { podRequest } from "./pods/pod-request.ts";
import { forward } from "./relay.ts";

type CatalogEndpoint = Extract<NamelessEndpoint, { kind: "catalog" }>;
type Asked = { readonly page: CatalogPage } | { readonly failed: "denied" | "down" };

/** One list of all Pods' repositories. A Pod that refuses, or is down, makes it an error: a short list would look complete. */
export async function serveCatalog(context: Context<CatalogEndpoint>, token: Token): Promise<Answer> {
  const { endpoint, services, challenger } = context;
  const refused = (refusal: AnyRefusal) => refuse(refusal, endpoint, challenger);
  const granted: Authorized[] = [];
  const settings = await services.directory.settings();
  if (!settings.ok) return refused(settings.error);
  const [wanted] = requiredAccess(endpoint) as readonly [Access];
  for (const id of settings.value.pods ?? []) {
    const pod = await services.directory.pod(id);
    if (!pod.ok) return refused(pod.error);
    if (pod.value === null) continue;
    const grant = await grantFor(token, pod.value, wanted, services.directory, services.now);
    if (!grant.ok) return refused(grant.error);
    granted.push({ pod: pod.value, grant: grant.value });
  }
  const entries = pageSize(endpoint.n);
  const [first] = granted;
  if (first === undefined) return refused({ reason: "unauthorized", error: "insufficient_scope" });
  // One Pod's own catalog needs no merging, and what is no page size is a registry's to say.
  if (entries === null || granted.length === 1) return forward(context, first);
  const asked = await Promise.all(granted.map((each) => askCatalog(context, each, entries)));
  return answerOf(asked, entries, refused);
}

async function askCatalog(
  { endpoint, request, services }: Context<CatalogEndpoint>,
  { pod, grant }: Authorized,
  entries: number,
): Promise<Asked> {
  if (pod.state === "down" || grant.kind === "open") return { failed: "down" };
  const page = { ...endpoint, n: String(entries) };
  const answer = await services.fetchPod(pod, podRequest(pod, page, grant.jwt, request));
  if (!answer.ok) return { failed: "down" };
  if (answer.value.status === 200) {
    const read = await readPage(answer.value);
    return read === null ? { failed: "down" } : { page: read };
  }
  await answer.value.body?.cancel();
  return { failed: answer.value.status === 401 || answer.value.status === 403 ? "denied" : "down" };
}

function answerOf(asked: readonly Asked[], entries: number, refused: (refusal: AnyRefusal) => Answer): Answer {
  const pages = asked.flatMap((each) => ("page" in each ? [each.page] : []));
  const failed = asked.flatMap((each) => ("failed" in each ? [each.failed] : []));
  if (failed.length === 0) return { response: mergeCatalog(pages, entries), outcome: "merged", endpoint: "catalog" };
  const down = failed.filter((why) => why === "down").length;
  const of = `${down === 0 ? failed.length : down} of ${asked.length} registries`;
  if (down > 0) return refused({ reason: "down", text: `${of} gave no catalog; try again` });
  return refused({ reason: "refused", error: { code: "DENIED", message: `${of} refused their catalog` } });
}
