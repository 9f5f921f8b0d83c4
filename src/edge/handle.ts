import { readToken } from "../auth/grant.ts";
import { ok } from "../lib/result.ts";
import { parseEndpoint } from "../oci/parse-endpoint.ts";
import type { Services } from "../services.ts";
import { serveToken } from "../token-endpoint/serve.ts";
import { askOtherPod } from "./ask-other-pod.ts";
import { type AttributedAnswer, attribute } from "./attribute.ts";
import { authorize, type Context } from "./authorize.ts";
import { serveBase } from "./base.ts";
import { serveCatalog } from "./catalog.ts";
import { forward } from "./forward.ts";
import { judgeLateWrite } from "./judge-late-write.ts";
import { mountAcross } from "./mount-across.ts";
import { redirectBlob } from "./redirect-blob.ts";
import { type Reply, refuse } from "./refuse.ts";
import { serveManifest } from "./serve-manifest.ts";
import { orStale, serveHeld } from "./serve-stale.ts";

/** Handles a request from top to bottom. Each step gives a value for the next step, or a refusal that becomes the answer. */
export async function handle(
  request: Request,
  services: Services,
  url = new URL(request.url),
): Promise<AttributedAnswer> {
  const { realm, service, auth } = services.config;
  const challenger = { realm: realm ?? `${url.origin}/jwt/auth`, service };

  // 1. Method and URL must mean one endpoint. Otherwise the request is refused before any look-up.
  const parsed = parseEndpoint(request.method, url);
  if (!parsed.ok) {
    const refused = refuse({ reason: "refused", error: parsed.error }, { ...challenger, access: [] });
    return { ...refused, endpoint: "unknown" };
  }
  const endpoint = parsed.value;
  const conclude = (reply: Reply, pod?: string) => attribute(reply, endpoint, { ...challenger, pod });

  // 2. The token endpoint finds the Pods of the requested scopes, and asks each of these Pods for a token.
  if (endpoint.kind === "token") return conclude(await serveToken(request, services));

  // 3. A request without a token gets a challenge that is made only from the URL. So the 401 that starts every pull costs no look-up.
  const token = auth === "none" ? ok(null) : readToken(request.headers.get("Authorization"));
  if (!token.ok) return conclude(token);
  const context: Context = { request, origin: url.origin, challenger, services, token: token.value };

  // 4. The edge itself merges the catalogs of all Pods, and answers `/v2/` if it can verify the token.
  if (endpoint.kind === "catalog") return conclude(await serveCatalog(endpoint, context));
  const base = endpoint.kind === "base" ? await serveBase(context) : null;
  if (base !== null) return conclude(base);

  // 5. `authorize` finds the name's Pod and what the token allows there. The request must also pass the gate before every registry.
  const authorized = await authorize(endpoint, context);
  if (!authorized.ok) return conclude(authorized);
  const { endpoint: own, grant, ...place } = authorized.value;

  // 6. A grant that the edge itself gave is good only for what is held here, and never for a call to the Pod.
  if (grant.kind === "edge") return conclude(await serveHeld(own, context, { ...place, grant }), place.pod.id);

  // 7. A blob GET with a grant and a proof is answered with a 307. A manifest that is asked for by its digest is served from here, if it is held here.
  const granted = { ...place, grant };
  const held = (await redirectBlob(own, context, granted)) ?? (await serveManifest(own, context, granted));

  // 8. A blob of another Pod is mounted by the gateway of this Pod, if there is one.
  const answered = held ?? (await mountAcross(own, context, granted));

  // 9. Every other request streams to the Pod, and the answer comes back rewritten.
  const passed = answered ?? (await forward(own, context, granted));

  // 10. While a group is being moved to another Pod, what its Pod lacks is looked for at the other Pod.
  const reply = await askOtherPod(passed, own, { context, authorized: granted });

  // 11. A write that took long is refused if its group has been frozen meanwhile, because the copy for the other Pod may lack it.
  const judged = await judgeLateWrite(reply, own, { context, authorized: granted });

  // 12. While the Pod fails, pulls are answered from what is held here.
  return conclude(await orStale(judged, own, { context, authorized: granted }), place.pod.id);
}
