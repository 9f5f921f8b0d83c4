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
  expect(await ask(scope)).toBe(503);
  expect(await ask(scope, basic("demo", "demo"))).toBe(200);
  tokenService.answer((response) => void response.writeHead(403).end("Pod B saw the credential"));
  expect(await ask("", basic("demo", routableToken("glpat-", "c:2k\no:1\nu:1z")))).toBe(403);
});

test("while strangers flood the token endpoint with names, refused credentials and refused forms get the usual answers", async () => {
  const { edge } = stack.current;
  const login = (name: string, password: string, method: "GET" | "POST") => {
    const scope = { service: "registry-edge", scope: `repository:${name}:pull` };
    const form = { ...scope, grant_type: "password", username: "demo", password };
    return method === "POST"
      ? fetch(`${edge}/jwt/auth`, { method, body: new URLSearchParams(form) })
      : fetch(`${edge}/jwt/auth?${new URLSearchParams(scope)}`, { headers: basic("demo", password) });
  };
  const logins = async () => {
    const answers: unknown[] = [];
    for (const name of ["acme/private", "hooli/private"]) {
      for (const [password, method] of [
        ["wrong", "GET"],
        ["wrong", "POST"],
        ["demo", "POST"],
      ] as const) {
        const answer = await login(name, password, method);
        answers.push([answer.status, await answer.text()]);
      }
    }
    return answers;
  };
  await stack.current.restartEdge();
  const usual = await logins();
  const ofOneName = [
    [401, expect.stringContaining("log in again")],
    [404, ""],
    [404, ""],
  ];
  expect(usual).toEqual([...ofOneName, ...ofOneName]);
  await stack.current.restartEdge();
  await flood();
  expect(await ask("&scope=repository:acme/private:pull")).toBe(503);
  expect(await logins()).toEqual(usual);
});
