/** Requests that name no repository: the base, the catalog, and for tokens. */

import { identify } from "../../auth/grant.ts";
import { createIsolate } from "../../isolate.ts";
import type { NamelessEndpoint } from "../../oci/endpoint.ts";
import { formatScope } from "../../oci/scope.ts";
import { planQuestions } from "../../token-endpoint/plan.ts";
import { parseTokenRequest } from "../../token-endpoint/request.ts";
import type { TracedDirectory } from "../target/traced-directory.ts";
import { tokenLines } from "./describe.ts";
import { answer, type Held, type Question } from "./question.ts";
import type { Step } from "./step.ts";

export async function explainNameless(
  { endpoint, held, now, auth }: Held<NamelessEndpoint>,
  { directory }: TracedDirectory,
): Promise<readonly Step[]> {
  if (auth === "none") return [answer(endpoint.kind === "base" ? "200" : "forwarded to the default Pod")];
  if (held === null) return [answer("401 with a challenge from the URL alone")];
  const ports = { directory, now, tokens: createIsolate().tokens };
  const token: Step = { step: "token", result: held.kind, lines: await tokenLines(held, directory, ports) };
  if (endpoint.kind === "catalog")
    return [token, answer("every Pod's catalog, merged, for a token that grants it on each")];
  const identified = await identify(held, ports);
  if (!identified.ok) return [token, answer('401 with error="invalid_token": no part of the token verifies')];
  const { grant, pod } = identified.value;
  if (endpoint.kind === "base" && grant.kind === "granted") return [token, answer("200: a part of the token verifies")];
  return [token, answer(`forwarded to Pod "${pod.id}", the token's own`)];
}

/** As with credentials that name no Pod by themselves. */
export async function explainTokenRequest(
  { url, method }: Question,
  { directory }: TracedDirectory,
): Promise<readonly Step[]> {
  const request = new Request(url, {
    method: method === "POST" ? "GET" : method,
    headers: { Authorization: "Basic Og==" },
  });
  const parsed = await parseTokenRequest(request, url.searchParams.get("service") ?? "");
  if (!parsed.ok) return [answer(`refused with ${parsed.error.code}: ${parsed.error.message}`)];
  const scopes: Step = { step: "scopes", result: parsed.value.scopes.map(formatScope).join(" ") || "none: a login" };
  const plan = await planQuestions(parsed.value, directory);
  if (!plan.ok)
    return [
      scopes,
      answer(
        plan.error.reason === "refused"
          ? `refused: ${plan.error.error.message}`
          : `503: ${"text" in plan.error ? plan.error.text : plan.error.reason}`,
      ),
    ];
  const asked = plan.value.map(({ pod, scopes: own, withCredentials }) => {
    const what = own.map(formatScope).join(" ") || "a login";
    return `${pod.id} at ${pod.token}, ${withCredentials ? "with the client's credentials" : "anonymously"}: ${what}`;
  });
  return [scopes, answer(`a bundle of what ${asked.length === 1 ? "this Pod grants" : "these Pods grant"}`, asked)];
}
