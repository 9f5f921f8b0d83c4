import { readToken } from "../auth/grant.ts";
import { ok } from "../lib/result.ts";
import { hasRepository } from "../oci/endpoint.ts";
import { parseEndpoint } from "../oci/parse-endpoint.ts";
import { accessList, requiredAccess } from "../oci/scope.ts";
import type { Services } from "../services.ts";
import { serveToken } from "../token-endpoint/serve.ts";
import { authorize, type Context } from "./authorize.ts";
import { serveBase } from "./base.ts";
import { serveCatalog } from "./catalog.ts";
import { forward } from "./forward.ts";
import { redirectBlob } from "./redirect-blob.ts";
import { type Answer, type Reply, refuse } from "./refuse.ts";
import { serveManifest } from "./serve-manifest.ts";
import { orStale, serveHeld } from "./serve-stale.ts";

/** An answer with what the log says of the request. `pod` names every Pod that was asked. */
export type AttributedAnswer = Answer & { readonly endpoint: string; readonly repository?: string };

/** The story of a request from top to bottom. Each step gives a value, or the refusal that answers. */
export async function handle(
  request: Request,
  services: Services,
  url = new URL(request.url),
): Promise<AttributedAnswer> {
  const { realm, service, auth } = services.config;
  const challenger = { realm: realm ?? `${url.origin}/jwt/auth`, service };

  // 1. Method and URL mean one endpoint, or the request is refused before any look-up.
  const parsed = parseEndpoint(request.method, url);
  if (!parsed.ok) {
    const refused = refuse({ reason: "refused", error: parsed.error }, { ...challenger, access: [] });
    return { ...refused, endpoint: "unknown" };
  }
  const endpoint = parsed.value;
  const conclude = (reply: Reply, pod?: string): AttributedAnswer => ({
    ...(pod === undefined ? {} : { pod }),
    ...(reply.ok ? reply.value : refuse(reply.error, { ...challenger, access: accessList(requiredAccess(endpoint)) })),
    endpoint: endpoint.kind,
    ...(hasRepository(endpoint) ? { repository: endpoint.name } : {}),
  });

  // 2. The token endpoint asks the Pods of the scopes for their tokens.
  if (endpoint.kind === "token") return conclude(await serveToken(request, services));

  // 3. Without a token the answer is a challenge made from the URL only, so the 401 that starts every pull costs no look-up.
  const token = auth === "none" ? ok(null) : readToken(request.headers.get("Authorization"));
  if (!token.ok) return conclude(token);
  const context: Context = { request, origin: url.origin, challenger, services, token: token.value };

  // 4. The edge answers `/v2/` for a token that verifies, and merges the catalogs of all Pods.
  if (endpoint.kind === "catalog") return conclude(await serveCatalog(endpoint, context));
  const base = endpoint.kind === "base" ? await serveBase(context) : null;
  if (base !== null) return conclude(base);

  // 5. The name's Pod, what the token allows there, and the gate before every registry.
  const authorized = await authorize(endpoint, context);
  if (!authorized.ok) return conclude(authorized);
  const { pod, grant } = authorized.value;

  // 6. A grant of the edge's own is good for what is held here, and never for a call to the Pod.
  if (grant.kind === "edge") return conclude(await serveHeld(endpoint, context, { pod, grant }), pod.id);

  // 7. A blob GET with a grant and a proof ends in a 307, and a manifest that is held here is answered by its digest.
  const granted = { pod, grant };
  const held = (await redirectBlob(endpoint, context, granted)) ?? (await serveManifest(endpoint, context, granted));

  // 8. Everything else streams to the Pod and comes back rewritten.
  const reply = held ?? (await forward(endpoint, context, granted));

  // 9. While the Pod fails, pulls go on from what is held here.
  return conclude(await orStale(reply, endpoint, { context, authorized: granted }), pod.id);
}
