/** The operator's tokens for one Pod. They come from the Pod's own token service, because a move calls the Pod's registry itself and not the edge. */
import { setTimeout as sleep } from "node:timers/promises";
import { decodeJwt } from "jose";
import type { Pod } from "../../directory/directory.ts";
import { type Access, formatScope } from "../../oci/scope.ts";
import { CliFailure } from "../failure.ts";
import { answerOf, basic, call, tokenIn } from "../http-call.ts";
import { passwordVariable, type User, userVariable } from "../target/operator.ts";

export type Tokens = {
  /**
   * Returns the remembered token if it is valid for long enough, otherwise a new one. With `fresh`, the token is always new, because a registry has
   * refused the remembered one.
   */
  readonly get: (scopes: readonly Access[], options?: { readonly fresh?: boolean }) => Promise<string>;
};

type Remembered = { readonly token: string; readonly untilMs: number };

/** We remember at most this many tokens, because a group may have thousands of repositories, each with a token of its own. */
const maxRemembered = 2_000;
/** The pauses after which we ask a failing token service again. It may be in the middle of a restart. */
const pausesMs = [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000];

export function openTokens(pod: Pod, user: User | null): Tokens {
  /** The values are promises, so that requests for a repository can wait for a token that another request has asked for already. */
  const remembered = new Map<string, Promise<Remembered>>();
  return {
    get: async (scopes, { fresh = false } = {}) => {
      const key = scopes.map(formatScope).join(" ");
      const pending = fresh ? undefined : remembered.get(key);
      // If there is no `pending` token, we await nothing before `remembered.set`, so that other requests find our promise.
      const known = pending === undefined ? undefined : await pending.catch(() => undefined);
      if (known !== undefined && Date.now() < known.untilMs) return known.token;
      const asked = fetchToken(pod, user, scopes).then((token) => ({ token, untilMs: useUntilMs(token) }));
      if (remembered.size >= maxRemembered) remembered.clear();
      remembered.set(key, asked);
      return (await asked).token;
    },
  };
}

async function fetchToken(pod: Pod, user: User | null, scopes: readonly Access[]): Promise<string> {
  const url = new URL(pod.token);
  url.searchParams.set("service", pod.audience);
  for (const scope of scopes) url.searchParams.append("scope", formatScope(scope));
  const who = user === null ? "a request without credentials" : `user "${user.name}"`;
  for (let tries = 0; ; tries += 1) {
    const answer = await call(url, { headers: basic(user) });
    const answered = answerOf(answer);
    if (answer.ok && answered === 200) {
      const token = tokenIn(answer.value);
      if (token !== null) return token;
      throw new CliFailure(`the token service of Pod "${pod.id}" answers without a token`);
    }
    if (answered === 401 || answered === 403) {
      throw new CliFailure(
        `the token service of Pod "${pod.id}" answers ${answered} to ${who} for "${scopes.map(formatScope).join(" ")}"; ` +
          `set ${userVariable(pod.id)} and ${passwordVariable(pod.id)}, or PODCTL_USER and PODCTL_PASSWORD, to a user who may do this`,
      );
    }
    const pauseMs = pausesMs[tries];
    if (pauseMs === undefined) {
      throw new CliFailure(`the token service of Pod "${pod.id}" fails: ${answered}; run the command again`);
    }
    await sleep(pauseMs);
  }
}

/** We use a token only for the first 60 % of its life, so that a long upload ends before its token expires. */
function useUntilMs(token: string): number {
  try {
    const { exp = 0 } = decodeJwt(token);
    return Date.now() + (exp * 1_000 - Date.now()) * 0.6;
  } catch {
    return 0;
  }
}
