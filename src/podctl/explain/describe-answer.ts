/** Describes the last steps that `podctl explain` prints: the Worker's answer, and the calls to Pods that the Worker would make for it. */
import { parseToken } from "../../auth/bundle.ts";
import type { AttributedAnswer } from "../../edge/attribute.ts";
import { parseJsonObject } from "../../lib/json.ts";
import { type Endpoint, hasRepository } from "../../oci/endpoint.ts";
import { pinParameter } from "../../pods/upload-pin.ts";
import { redactPath } from "../../telemetry/log-line.ts";
import type { Call, Question, Recorded } from "./recording.ts";
import type { Step } from "./step.ts";

export async function answerSteps(
  question: Question,
  endpoint: Endpoint | null,
  recorded: Recorded,
): Promise<readonly Step[]> {
  const { answer, calls } = recorded;
  const step = (result: string, lines: readonly string[] = []): Step => ({ step: "answer", result, lines });
  const assumed: Step = { step: "assumed", result: `every Pod answers with ${question.podStatus} (--pod-status)` };
  const { outcome, pod } = answer;
  if (outcome === "redirected") return [step("307 to this URL once there is a proof; else what the Pod answers")];
  if (outcome === "forwarded" || outcome === "streamed") {
    // We leave out calls that only ask for a proof: their method is not the client's. During a move, the client's request may go to both Pods.
    const sent = calls.filter(({ request }) => request.method === question.method);
    return [
      assumed,
      step(`forwarded to Pod "${pod}"`, [...sent.map(registryLine), ...notes(question, endpoint, recorded)]),
    ];
  }
  if (outcome === "mounted") {
    const copied = `201: the gateway of Pod "${pod}" copies the blob from the source's store`;
    return [assumed, step(`${copied}; an upload begins (202) if it cannot`, calls.map(registryLine))];
  }
  if (outcome === "merged") return [assumed, step("one list, merged from those of all Pods", calls.map(registryLine))];
  if (outcome === "token" && endpoint?.kind === "token") {
    const granted = calls.length === 1 ? "what this Pod grants" : "what these Pods grant";
    return [assumed, step(answer.response.ok ? `a bundle of ${granted}` : "what the Pod says", calls.map(tokenLine))];
  }
  const before = calls.length === 0 ? [] : [assumed];
  if (outcome === "ping") return [step(question.auth === "none" ? "200" : "200: a part of the token verifies")];
  if (outcome === "challenged") return [...before, step(challengeText(question, endpoint, answer))];
  return [...before, step(await refusalText(endpoint, answer), calls.map(registryLine))];
}

const registryLine = ({ request }: Call): string => {
  const url = new URL(request.url);
  return `${request.method} ${url.origin}${redactPath(url)}`;
};

function tokenLine({ pod, request }: Call): string {
  const scopes = new URL(request.url).searchParams.getAll("scope").join(" ") || "a login";
  const as = request.headers.has("Authorization") ? "with the client's credentials" : "anonymously";
  return `${pod.id} at ${pod.token}, ${as}: ${scopes}`;
}

function notes({ url }: Question, endpoint: Endpoint | null, { calls, notMounted }: Recorded): readonly string[] {
  const call = calls.at(-1);
  const isMount = endpoint?.kind === "upload-start" && endpoint.mount !== null;
  const isPlain = isMount && call !== undefined && !new URL(call.request.url).searchParams.has("mount");
  const isPinned = endpoint?.kind === "upload" && url.searchParams.has(pinParameter);
  return [
    ...(isPlain && notMounted === undefined ? ["the mount's source is not this Pod's: an upload begins (202)"] : []),
    ...(notMounted === undefined ? [] : [`not mounted from another Pod, so an upload begins (202): ${notMounted}`]),
    ...(isPinned
      ? [`an upload with ${pinParameter} stays with the Pod that it names, which only the Worker can read`]
      : []),
  ];
}

function challengeText({ token }: Question, endpoint: Endpoint | null, { cause }: AttributedAnswer): string {
  if (cause === undefined) return "401 with a challenge from the URL only";
  const isMalformed = token !== null && !parseToken(token).ok;
  const isNameless = endpoint !== null && !hasRepository(endpoint) && cause === "invalid_token";
  const why = isMalformed ? ": what is sent is neither a bundle nor a JWT" : ": no part of the token verifies";
  return `401 with error="${cause}"${isMalformed || isNameless ? why : ""}`;
}

/** If `cause` is a sentence and not one word, it says more than the answer's message, so we show the cause. */
async function refusalText(endpoint: Endpoint | null, { response, outcome, cause }: AttributedAnswer): Promise<string> {
  const [error] = (parseJsonObject(await response.text())?.["errors"] ?? []) as { code?: string; message?: string }[];
  const text = cause?.includes(" ") ? cause : (error?.message ?? "");
  if (endpoint === null) return `refused with ${error?.code}: ${text}`;
  return `${response.status} ${error?.code}${outcome === "blocked" ? " by a block" : ""}: ${text}`;
}
