import { readToken } from "../auth/grant.ts";
import { hasRepository } from "../oci/endpoint.ts";
import { parseEndpoint } from "../oci/parse-endpoint.ts";
import type { Services } from "../services.ts";
import { serveToken } from "../token-endpoint/serve.ts";
import { admit, serveNameless } from "./authorize.ts";
import { forward, redirect } from "./forward.ts";
import { type Answer, type Challenger, refuse } from "./refuse.ts";

/** The story of a request, top to bottom; each step gives a value, or the refusal that answers. */
export async function handle(request: Request, services: Services): Promise<Answer> {
  const url = new URL(request.url);
  const challenger: Challenger = {
    realm: services.config.realm ?? `${url.origin}/jwt/auth`,
    service: services.config.service,
  };

  // 1. Method and URL mean one endpoint, or are refused before any look-up.
  const parsed = parseEndpoint(request.method, url);
  if (!parsed.ok) return refuse({ reason: "malformed", error: parsed.error }, null, challenger);
  const endpoint = parsed.value;

  // 2. The token endpoint ends here.
  if (endpoint.kind === "token") {
    const served = await serveToken(request, {
      ...services,
      directory: services.recentDirectory,
      service: services.config.service,
    });
    if (!served.ok) return refuse(served.error, endpoint, challenger);
    return { response: served.value.response, outcome: "token", endpoint: "token", pod: served.value.pods };
  }

  // 3. No token: a challenge made from the URL alone, so that the 401 which starts every pull costs no look-up.
  const token = services.config.auth === "none" ? null : readToken(request.headers.get("Authorization"));
  if (token !== null && !token.ok) return refuse(token.error, endpoint, challenger);
  const context = { request, endpoint, challenger, services, token: token?.value ?? null };
  if (!hasRepository(endpoint)) return serveNameless({ ...context, endpoint });

  // 4. The name's Pod, and what the token allows there; unassigned names are answered like all others.
  const admitted = await admit({ ...context, endpoint });
  if (!admitted.ok) return refuse(admitted.error, endpoint, challenger);

  // 5. A blob GET with a grant and a proof ends in a 307.
  const redirected = await redirect({ ...context, endpoint }, admitted.value);
  if (redirected !== null) return redirected;

  // 6. All else streams to the Pod and comes back rewritten.
  return forward({ ...context, endpoint }, admitted.value);
}
