import { expect, test } from "vitest";
import { answerFormsToo, asPodB, startOddPod } from "../support/odd-pod.ts";
import { routableToken } from "../support/routable-token.ts";
import { useStack } from "../support/toy-stack.ts";

const tokenService = await startOddPod();
const stack = useStack({
  seedImages: false,
  topology: (text) => asPodB(tokenService, "TOKEN")(text).replace("  pod-b:\n", '  pod-b:\n    cells: ["2k"]\n'),
});

const basic = (user: string, password: string) => ({ Authorization: `Basic ${btoa(`${user}:${password}`)}` });

async function ask(query: string, headers: Record<string, string> = {}): Promise<number> {
  const answer = await fetch(`${stack.current.edge}/jwt/auth?service=registry-edge${query}`, { headers });
  await answer.text();
  return answer.status;
}

let made = 0;
/** Asks for more names than the edge looks up for strangers in 10 seconds. */
async function flood(): Promise<void> {
  for (let round = 0; round < 13; round += 1) {
    const requests = Array.from({ length: 20 }, () =>
      ask(Array.from({ length: 40 }, () => `&scope=repository:x${made++}:pull`).join("")),
    );
    await Promise.all(requests);
  }
}

test("while strangers flood the token endpoint with names, new names wait for strangers only, and logins go on", async () => {
  answerFormsToo(tokenService, stack.current.pods["pod-b"].token.url);
  await flood();
  const scope = "&scope=repository:globex/private:pull";
  expect([await ask(scope), await ask(scope, basic("demo", "wrong"))]).toEqual([503, 503]);
  expect(await ask(scope, basic("demo", "demo"))).toBe(200);
  tokenService.answer((response) => void response.writeHead(403).end("Pod B saw the credential"));
  expect(await ask("", basic("demo", routableToken("glpat-", "c:2k\no:1\nu:1z")))).toBe(403);
});
