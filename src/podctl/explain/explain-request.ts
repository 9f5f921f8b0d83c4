/** The story of `src/edge/handle.ts` told in words, by the same functions, up to the calls that the Worker would make. */

import { parseToken } from "../../auth/bundle.ts";
import { grantFor } from "../../auth/grant.ts";
import { storesFor } from "../../blobs/choose-store.ts";
import type { Pod } from "../../directory/directory.ts";
import { resolvePod } from "../../directory/resolve.ts";
import { createIsolate } from "../../isolate.ts";
import { digestOf, formatEndpoint, hasRepository, type RepositoryEndpoint } from "../../oci/endpoint.ts";
import { parseEndpoint } from "../../oci/parse-endpoint.ts";
import { type Access, accessList, formatScope, requiredAccess } from "../../oci/scope.ts";
import { passGate } from "../../pods/gate.ts";
import { settleMount } from "../../pods/mount.ts";
import { redactPath } from "../../telemetry/record.ts";
import type { TracedDirectory } from "../target/traced-directory.ts";
import { explainSigning } from "./canonical.ts";
import { describePod, lookupLines, tokenLines } from "./describe.ts";
import { explainNameless, explainTokenRequest } from "./explain-nameless.ts";
import { answer, type Held, type Question } from "./question.ts";
import type { Step } from "./step.ts";

/** What src/worker.ts answers before any endpoint is parsed. */
const ownAnswers: ReadonlyMap<string, string> = new Map([
  ["/", "the edge itself, with a few words"],
  ["/v2", "301 to /v2/"],
  ["/-/health", "the edge itself, 200 while the Worker runs"],
  ["/-/probe", "the edge itself, for `podctl doctor` and the holders of PROBE_TOKEN alone"],
]);

export async function explainRequest(question: Question, traced: TracedDirectory): Promise<readonly Step[]> {
  const own = ownAnswers.get(question.url.pathname);
  if (own !== undefined) return [{ step: "endpoint", result: "none of the registry API" }, answer(own)];
  const parsed = parseEndpoint(question.method, question.url);
  if (!parsed.ok) {
    return [{ step: "endpoint", result: "none" }, answer(`refused with ${parsed.error.code}: ${parsed.error.message}`)];
  }
  const endpoint = parsed.value;
  const first: Step = { step: "endpoint", result: `${endpoint.kind}, ${endpoint.method}` };
  if (endpoint.kind === "token") return [first, ...(await explainTokenRequest(question, traced))];
  const token = question.token === null || question.auth === "none" ? null : parseToken(question.token);
  if (token !== null && !token.ok) {
    return [first, answer('401 with error="invalid_token": what is sent is neither a bundle nor a JWT')];
  }
  const held = token?.value ?? null;
  if (hasRepository(endpoint)) return [first, ...(await explainRepository({ ...question, endpoint, held }, traced))];
  return [first, ...(await explainNameless({ ...question, endpoint, held }, traced))];
}

async function explainRepository(asked: Held<RepositoryEndpoint>, traced: TracedDirectory): Promise<readonly Step[]> {
  const { endpoint, held, now } = asked;
  const ports = { directory: traced.directory, now, tokens: createIsolate().tokens };
  const steps: Step[] = [{ step: "repository", result: endpoint.name }];
  const resolution = await resolvePod(traced.directory, { name: endpoint.name, digest: digestOf(endpoint) });
  steps.push({ step: "look-ups", result: `${traced.lookups.length} keys`, lines: lookupLines(traced.lookups) });
  if (!resolution.ok) return [...steps, answer(`503: ${resolution.error.text}`)];
  const { pod, blocked } = resolution.value;
  steps.push({ step: "Pod", result: pod === null ? "none" : describePod(pod) });
  const scopes = accessList(requiredAccess(endpoint));
  steps.push({ step: "scopes", result: scopes.map(formatScope).join(" ") });
  if (asked.auth === "none") {
    steps.push({ step: "token", result: "this fleet asks for none" });
  } else if (held === null) {
    steps.push({
      step: "token",
      result: "none: 401 from the URL alone, with these scopes; from here on as with a token that grants them",
    });
  } else {
    steps.push({ step: "token", result: held.kind, lines: await tokenLines(held, traced.directory, ports) });
    const grant = await grantFor(held, { pod, wanted: scopes[0] as Access }, ports);
    if (!grant.ok && grant.error.reason === "unauthorized")
      return [...steps, answer(`401 with error="${grant.error.error}"`)];
    if (!grant.ok)
      return [...steps, answer(grant.error.reason === "directory" ? `503: ${grant.error.text}` : "404 NAME_UNKNOWN")];
    steps.push({
      step: "grant",
      result:
        grant.value.kind === "undecided" ? "for the Pod to judge: its key is not in the record" : "covers the scopes",
    });
    if (grant.value.kind === "undecided" && pod !== null) {
      const isRefused = !passGate(endpoint.method, resolution.value).ok;
      const refusal = answer(
        '401 with error="invalid_token": nobody has judged this token, so it hears of no block and no state',
      );
      return [...steps, isRefused ? refusal : await forwardTo(pod, asked, traced)];
    }
  }
  if (blocked !== null) return [...steps, answer(`403 DENIED by a block: ${blocked}`)];
  if (pod === null) return [...steps, answer("404 NAME_UNKNOWN to a token that names it, else 401 as for any name")];
  const admitted = passGate(endpoint.method, resolution.value);
  if (!admitted.ok && "text" in admitted.error) {
    const status = admitted.error.reason === "down" ? "503 UNAVAILABLE" : "403 DENIED";
    return [...steps, answer(`${status}: ${admitted.error.text}`)];
  }
  if (endpoint.kind === "blob" && endpoint.method === "GET")
    return [...steps, ...(await explainBlob(pod, asked, traced))];
  return [...steps, await forwardTo(pod, asked, traced)];
}

async function explainBlob(
  pod: Pod,
  asked: Held<RepositoryEndpoint>,
  traced: TracedDirectory,
): Promise<readonly Step[]> {
  const { endpoint, client, now } = asked;
  const digest = digestOf(endpoint);
  const [store] = storesFor(pod, client, new WeakMap());
  const known = Object.entries(client).flatMap(([name, value]) => (value === null ? [] : [`${name} ${value}`]));
  const where = known.length === 0 ? "a client of unknown place" : known.join(", ");
  if (store === undefined || store.scheme === "pod" || digest === null) {
    const own: Step = { step: "store", result: `none for ${where}: the Pod redirects by itself, or streams` };
    return [own, await forwardTo(pod, asked, traced)];
  }
  const index = pod.blobs.stores.indexOf(store);
  const signing = await explainSigning("GET", digest, store, now);
  const minutes = Math.floor((signing.window.expiresAt.getTime() - now.getTime()) / 60_000);
  return [
    { step: "store", result: `blobs.stores.${index}, the first that fits ${where}` },
    {
      step: "proof",
      result: `that the digest is in "${endpoint.name}": remembered, or by a HEAD at ${pod.registry} (proof: ${pod.blobs.proof})`,
    },
    {
      step: "signer",
      result: `${store.scheme}, for ${minutes} minutes from now`,
      lines: [signing.url, ...(signing.parameters.length === 0 ? [] : [`with ${signing.parameters.join(", ")}`])],
    },
    {
      step: "signed",
      result: signing.canonical === null ? "nothing that can be shown" : "secrets are replaced by stand-ins",
      lines: signing.canonical?.split("\n") ?? [],
    },
    answer("307 to this URL once there is a proof; else what the Pod answers"),
  ];
}

async function forwardTo(
  pod: Pod,
  { endpoint }: Held<RepositoryEndpoint>,
  { directory }: TracedDirectory,
): Promise<Step> {
  const settled = await settleMount(endpoint, pod, directory);
  if (!settled.ok) return answer(`503: ${settled.error.text}`);
  const note =
    endpoint.kind === "upload-start" && endpoint.mount !== null && settled.value !== endpoint
      ? ["the mount's source is not this Pod's: an upload begins (202)"]
      : [];
  const pinned =
    endpoint.kind === "upload"
      ? ["an upload with _pod stays with the Pod that it names, which only the Worker can read"]
      : [];
  const path = redactPath(new URL(pod.registry + formatEndpoint(settled.value)));
  return answer(`forwarded to Pod "${pod.id}"`, [`${endpoint.method} ${pod.registry}${path}`, ...note, ...pinned]);
}
