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

/** Answers a request, step by step. A step gives a value to the next step, or it ends the request with an answer or a refusal. */
export async function handle(
  request: Request,
  services: Services,
  url = new URL(request.url),
): Promise<AttributedAnswer> {
  const { realm, service, auth } = services.config;
  const { origin } = url;
  const challenger = { realm: realm ?? `${origin}/jwt/auth`, service };

  // 1. Method and URL are parsed into an endpoint. If they do not name one, the request is refused before the directory is read.
  const parsed = parseEndpoint(request.method, url);
  if (!parsed.ok) {
    const refused = refuse({ reason: "refused", error: parsed.error }, { ...challenger, access: [] });
    return { ...refused, endpoint: "unknown" };
  }
  const endpoint = parsed.value;
  const conclude = (reply: Reply, pod?: string) => attribute(reply, endpoint, { ...challenger, pod });

  // 2. The token endpoint finds the Pods of the requested scopes, and asks the token service of each of these Pods for a token.
  if (endpoint.kind === "token") return conclude(await serveToken(request, services));

  // 3. A request without a token gets a challenge that is made only from the URL. So the 401 that starts every pull costs no read of the directory.
  const token = auth === "none" ? ok(null) : readToken(request.headers.get("Authorization"));
  if (!token.ok) return conclude(token);
  const context: Context = { request, origin, challenger, services, token: token.value };

  // 4. The edge itself merges the catalogs of all Pods, and answers `/v2/` if it can verify the token.
  if (endpoint.kind === "catalog") return conclude(await serveCatalog(endpoint, context));
  const base = endpoint.kind === "base" ? await serveBase(context) : null;
  if (base !== null) return conclude(base);

  // 5. `authorize` finds the name's Pod and what the token allows there. It refuses what the gate (src/pods/gate.ts) forbids, such as a blocked name.
  const authorized = await authorize(endpoint, context);
  if (!authorized.ok) return conclude(authorized);
  const { endpoint: own, pod, grant } = authorized.value;

  // 6. While a Pod's token service fails, the edge itself may grant pulls. It answers such a pull only from its caches, and never calls the Pod.
  if (grant.kind === "edge")
    return conclude(await serveHeld(own, { context, authorized: { ...authorized.value, grant } }), pod.id);

  // 7. A blob GET gets a 307, if a proof shows that the repository has the blob. A GET of a manifest by digest is answered from the edge's cache.
  const asked = { context, authorized: { ...authorized.value, grant } };
  const held = (await redirectBlob(own, asked)) ?? (await serveManifest(own, asked));
  if (held?.ok) return conclude(held, pod.id);

  // 8. If a client mounts a blob of another Pod's repository, the target Pod's gateway copies the blob. Without a gateway, the client uploads it.
  const answered = held ?? (await mountAcross(own, asked));

  // 9. Every other request is streamed to the Pod. URLs of the Pod in its answer are rewritten to lead to the edge, or to the Pod's gateway.
  const passed = answered ?? (await forward(own, asked));

  // 10. While the Pod fails, pulls are answered from the edge's caches.
  const kept = await orStale(passed, own, asked);

  // 11. If the serving Pod lacks something while its group is being moved, the edge looks for it at the other Pod of the move.
  const found = await askOtherPod(kept, own, asked);

  // 12. A slow write is refused, if a move has frozen its group meanwhile. The copy at the other Pod may lack what was written.
  return conclude(await judgeLateWrite(found, own, asked), pod.id);
}
