import { err } from "../lib/result.ts";
import type { PodAnswer } from "./ask-pod.ts";
import type { PodQuestion } from "./plan.ts";

type Asking = {
  readonly ask: (question: PodQuestion, signal: AbortSignal) => Promise<PodAnswer>;
  /** Null: there is nothing in place of the Pod's answer. */
  readonly standIn: (question: PodQuestion) => Promise<PodAnswer | null>;
};

export type Asked = { readonly question: PodQuestion; readonly answer: PodAnswer };

/** A pull that is one of several may be left out, so a token service that hangs must not delay the others' parts for longer. */
const dropAfterMs = 3_000;

/**
 * Asks all Pods at once. After three seconds nothing more is waited for that would not change the answer: pulls that are still open, once another
 * Pod has granted its part, or has refused a write. `signal` ends their calls, and `standIn` may answer for them.
 */
export async function askPods(questions: readonly PodQuestion[], { ask, standIn }: Asking): Promise<readonly Asked[]> {
  const answers = new Map<PodQuestion, PodAnswer>();
  const isEnough = (): boolean => {
    const open = questions.filter((question) => !answers.has(question));
    const isSettled = [...answers].some(([{ decides }, answer]) => decides || isGrantedByPod(answer));
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

/** A grant of the edge's own is given at once, and what it is for must not cost another Pod's part. */
const isGrantedByPod = (answer: PodAnswer): boolean => answer.kind === "granted" && answer.part.kind === "pod";

const leftOut: PodAnswer = {
  kind: "unavailable",
  answer: err({ reason: "silent", text: `no answer within ${dropAfterMs} ms, and its part may be left out` }),
};
