import { err } from "../lib/result.ts";
import type { PodAnswer } from "./ask-pod.ts";
import type { PodQuestion } from "./plan.ts";

type Asking = {
  readonly ask: (question: PodQuestion, signal: AbortSignal) => Promise<PodAnswer>;
  /** Returns the edge's own answer to a question that the Pod did not answer in time. Null if the edge has none. */
  readonly standIn: (question: PodQuestion) => Promise<PodAnswer | null>;
};

export type Asked = { readonly question: PodQuestion; readonly answer: PodAnswer };

const dropAfterMs = 3_000;

/**
 * Asks all Pods at once, and waits up to three seconds for all answers. After that, the edge waits only for the answers to questions with `decides`.
 * If no question has `decides`, the edge waits until a Pod grants the scopes of a question with `isUsable`, or all such questions are answered.
 */
export async function askPods(questions: readonly PodQuestion[], { ask, standIn }: Asking): Promise<readonly Asked[]> {
  const answers = new Map<PodQuestion, PodAnswer>();
  const isEnough = (): boolean => {
    const open = questions.filter((question) => !answers.has(question));
    if (open.every(({ isUsable }) => !isUsable)) return true;
    const isSettled = [...answers].some(
      ([{ decides, isUsable }, answer]) => decides || (isUsable && isGrantedByPod(answer)),
    );
    return isSettled && open.every(({ decides }) => !decides);
  };
  const enough = Promise.withResolvers<void>();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    if (isEnough()) enough.resolve();
  }, dropAfterMs);
  const calls = questions.map((question) => ({ question, end: new AbortController() }));
  const all = calls.map(async ({ question, end }) => {
    answers.set(question, await ask(question, end.signal));
    if (isLate && isEnough()) enough.resolve();
  });
  await Promise.race([Promise.all(all), enough.promise]);
  clearTimeout(timer);
  for (const { question, end } of calls) if (!answers.has(question)) end.abort();
  const answerOf = async (question: PodQuestion) => answers.get(question) ?? (await standIn(question)) ?? leftOut;
  return Promise.all(questions.map(async (question) => ({ question, answer: await answerOf(question) })));
}

/** Whether the Pod itself granted its part. If the edge's own grants counted, `askPods` could end after 3 s although no Pod has answered. */
const isGrantedByPod = (answer: PodAnswer): boolean => answer.kind === "granted" && answer.part.kind === "pod";

const leftOut: PodAnswer = {
  kind: "unavailable",
  answer: err({ reason: "silent", text: `no answer within ${dropAfterMs} ms, and its part may be left out` }),
};
