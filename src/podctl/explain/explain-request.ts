/** Explains what the Worker does with a request. To find the answer and the calls to Pods, podctl runs the Worker's own `handle()`. */
import { parseToken, type Token } from "../../auth/bundle.ts";
import { grantFor } from "../../auth/grant.ts";
import { noneRejected } from "../../auth/verify.ts";
import { attributionOf } from "../../blobs/attribution.ts";
import { chooseStores } from "../../blobs/choose-store.ts";
import type { Client } from "../../directory/clients.ts";
import type { Directory, Pod } from "../../directory/directory.ts";
import { resolvePod } from "../../directory/resolve.ts";
import { createIsolate } from "../../isolate.ts";
import { type Endpoint, hasRepository, type RepositoryEndpoint } from "../../oci/endpoint.ts";
import { parseEndpoint } from "../../oci/parse-endpoint.ts";
import { withoutParameters } from "../../oci/query.ts";
import { accessList, formatScope, parseScopes, requiredAccess } from "../../oci/scope.ts";
import { ownParameters } from "../../pods/push-location.ts";
import { learnDepth, type TracedDirectory } from "../target/traced-directory.ts";
import { describeMove, describePod, describeSettings, lookupLines, tokenLines } from "./describe.ts";
import { answerSteps } from "./describe-answer.ts";
import { explainSigning } from "./explain-signing.ts";
import { type Question, type Recorded, requestFrom, runHandle } from "./recording.ts";
import { optionalStep, type Step } from "./step.ts";

/** Opens the directory with an empty list of look-ups. */
type OpenDirectory = () => TracedDirectory;

/** The paths that src/worker.ts answers before it calls `handle()`. */
const ownAnswers: ReadonlyMap<string, string> = new Map([
  ["/", "the edge itself, with a few words"],
  ["/v2", "301 to /v2/"],
  ["/-/health", "the edge itself, with 200 while the Worker runs"],
  ["/-/probe", "the edge itself, only for holders of PROBE_TOKEN such as `podctl doctor`"],
]);

export async function explainRequest(question: Question, open: OpenDirectory): Promise<readonly Step[]> {
  const own = ownAnswers.get(question.url.pathname);
  if (own !== undefined) {
    return [
      { step: "endpoint", result: "not one of the registry API" },
      { step: "answer", result: own },
    ];
  }
  if (question.url.protocol === "http:" && question.plainHttp === "nowhere") {
    return [{ step: "answer", result: "403 DENIED: the edge serves this registry over https only (PLAIN_HTTP)" }];
  }
  const parsed = parseEndpoint(question.method, question.url);
  const endpoint = parsed.ok ? parsed.value : null;
  const steps: Step[] = [
    { step: "endpoint", result: endpoint === null ? "none" : `${endpoint.kind}, ${endpoint.method}` },
  ];
  if (endpoint === null)
    return [...steps, ...(await answerSteps(question, null, await run(question, open().directory)))];
  if (hasRepository(endpoint)) return [...steps, ...(await explainRepository(question, endpoint, open))];
  return [...steps, ...(await explainNameless(question, endpoint, open))];
}

/**
 * Runs `handle()` without the parameters that the Worker adds to the URL of an upload. One of them, `_pod`, is encrypted by a key that podctl does
 * not have, so `handle()` would refuse the upload.
 */
function run(question: Question, directory: Directory): Promise<Recorded> {
  const { token } = question;
  const url = new URL(question.url);
  url.search = withoutParameters(url.search.slice(1), ownParameters);
  const isToken = url.pathname === "/jwt/auth";
  // With an empty name and password (`Og==` is `:`), the calls of a token request show which Pods get a client's credentials.
  const authorization = isToken ? "Basic Og==" : token === null ? null : `Bearer ${token}`;
  const method = isToken && question.method === "POST" ? "GET" : question.method;
  return runHandle(requestFrom(question.client, { method, url, authorization }), { ...question, directory });
}

async function explainNameless(question: Question, endpoint: Endpoint, open: OpenDirectory): Promise<readonly Step[]> {
  const { directory } = open();
  const held = question.auth === "none" || question.token === null ? null : parseToken(question.token);
  const steps: Step[] = [];
  if (endpoint.kind === "token") {
    const scopes = parseScopes(question.url.searchParams.getAll("scope"));
    steps.push({ step: "scopes", result: scopes.map(formatScope).join(" ") || "none: a login" });
  } else if (held?.ok === true) {
    steps.push(await tokenStep(held.value, directory, question.now));
  }
  return [...steps, ...(await answerSteps(question, endpoint, await run(question, directory)))];
}

async function explainRepository(
  question: Question,
  endpoint: RepositoryEndpoint,
  open: OpenDirectory,
): Promise<readonly Step[]> {
  const { directory } = open();
  const resolution = await resolvePod(directory, { name: endpoint.name });
  const found = resolution.ok ? resolution.value : null;
  const { pod, renamed, assignment } = found ?? { pod: null, renamed: null, assignment: null };
  const own = renamed === null ? endpoint : { ...endpoint, name: renamed.to };
  const traced = open();
  await learnDepth(traced.directory);
  const needsToken = question.auth === "token";
  // If the operator gave no token, we show what happens with a token that grants all that the request needs. With `auth: "none"`, `handle()` answers
  // as if the request had such a token.
  const granted: Question = needsToken && question.token === null ? { ...question, auth: "none" } : question;
  const recorded = await run(granted, traced.directory);
  const held = !needsToken || question.token === null ? null : parseToken(question.token);
  if (held !== null && !held.ok) return answerSteps(question, endpoint, recorded);
  const scopes = accessList(requiredAccess(endpoint)).map(formatScope).join(" ");
  const token = await explainToken(question, held?.value ?? null, { endpoint: own, pod, directory });
  return [
    { step: "repository", result: endpoint.name },
    { step: "look-ups", result: `${traced.lookups.length} keys`, lines: lookupLines(traced.lookups) },
    ...optionalStep("Pod", found && (pod === null ? "none" : describePod(pod))),
    ...optionalStep("renamed", renamed && `to ${renamed.to}, and so the Pod gets it`),
    ...optionalStep("move", found && describeMove(found)),
    ...optionalStep("group", describeSettings(assignment)),
    { step: "scopes", result: scopes },
    ...token.steps,
    ...optionalStep("passed over", recorded.passedOver ?? null),
    ...(recorded.answer.outcome === "redirected" && pod !== null
      ? await explainRedirect(question, own, { pod, recorded, directory, jwt: token.jwt })
      : []),
    ...(await answerSteps(question, endpoint, recorded)),
  ];
}

type Resolved = { readonly endpoint: RepositoryEndpoint; readonly pod: Pod | null; readonly directory: Directory };

/** `jwt` is the part of the token that grants the scopes. Null if no part grants them. */
type ExplainedToken = { readonly steps: readonly Step[]; readonly jwt: string | null };

async function explainToken(
  { auth, now }: Question,
  held: Token | null,
  { endpoint, pod, directory }: Resolved,
): Promise<ExplainedToken> {
  if (auth === "none") return { steps: [{ step: "token", result: "this fleet asks for none" }], jwt: null };
  if (held === null) {
    const result = "none: 401 from the URL only, with these scopes; from here on as with a token that grants them";
    return { steps: [{ step: "token", result }], jwt: null };
  }
  const token = await tokenStep(held, directory, now);
  const { own: wanted } = requiredAccess(endpoint);
  const ports = {
    directory,
    now,
    tokens: createIsolate().tokens,
    rejected: noneRejected(),
    config: { edgeKeys: [] },
    trace: {},
  };
  const grant = await grantFor(held, { pod, wanted }, ports);
  if (!grant.ok) return { steps: [token], jwt: null };
  const isUndecided = grant.value.kind === "undecided";
  const result = isUndecided
    ? "the Pod decides, because its record does not have the token's key"
    : "covers the scopes";
  return {
    steps: [token, { step: "grant", result }],
    jwt: grant.value.kind === "granted" ? grant.value.jwt : null,
  };
}

const tokenStep = async (token: Token, directory: Directory, now: Date): Promise<Step> => ({
  step: "token",
  result: token.kind,
  lines: await tokenLines(token, directory, { now, tokens: createIsolate().tokens, rejected: noneRejected() }),
});

type Redirected = Pick<ExplainedToken, "jwt"> & {
  readonly pod: Pod;
  readonly recorded: Recorded;
  readonly directory: Directory;
};

async function explainRedirect(
  { client, now }: Question,
  endpoint: RepositoryEndpoint,
  { pod, recorded, directory, jwt }: Redirected,
): Promise<readonly Step[]> {
  const { stores } = await chooseStores(pod, client, { directory, ...createIsolate() });
  const [store] = stores;
  if (endpoint.kind !== "blob" || store === undefined || store.scheme === "pod") return [];
  const attribution = attributionOf(endpoint.name, jwt);
  const signing = await explainSigning(endpoint.digest, { store, now, attribution });
  const minutes = Math.floor((signing.window.expiresAt.getTime() - now.getTime()) / 60_000);
  const [head] = recorded.calls;
  const asked =
    head === undefined ? "" : `, here a ${head.request.method} to ${pod.registry} (${head.assumedStatus} assumed)`;
  const signedUrl = new URL(recorded.answer.response.headers.get("Location") ?? signing.url);
  return [
    {
      step: "store",
      result: `blobs.stores.${pod.blobs.stores.indexOf(store)}, the first that fits ${describeClient(client)}${recorded.passedOver === undefined ? "" : " and is not out"}`,
    },
    {
      step: "proof",
      result: `that the digest is in "${endpoint.name}": a remembered one, or a new one${asked} (proof: ${pod.blobs.proof})`,
    },
    {
      step: "signer",
      result: `${store.scheme}, for ${minutes} minutes from now`,
      lines: [
        signedUrl.origin + signedUrl.pathname,
        ...(signing.parameters.length === 0 ? [] : [`with ${signing.parameters.join(", ")}`]),
      ],
    },
    {
      step: "signed",
      result: signing.canonical === null ? "nothing is signed" : "stand-ins replace the secrets",
      lines: signing.canonical?.split("\n") ?? [],
    },
  ];
}

function describeClient(client: Omit<Client, "address">): string {
  const known = Object.entries(client).flatMap(([name, value]) => (value === null ? [] : [`${name} ${value}`]));
  return known.length === 0 ? "a client of unknown place" : known.join(", ");
}
