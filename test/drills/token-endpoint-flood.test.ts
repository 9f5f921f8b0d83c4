import { SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { createClient, pushBlob } from "../support/client.ts";
import { answerFormsToo, asPodB, startOddPod } from "../support/odd-pod.ts";
import { routableToken } from "../support/routable-token.ts";
import { forgetDepth, useStack } from "../support/toy-stack.ts";

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
/** Asks for new names until the edge looks up no more of them for strangers. After at most 10 seconds, the edge looks up new names again. */
async function flood(): Promise<void> {
  for (const names of [...Array<number>(13).fill(40), 1, 1]) {
    const requests = Array.from({ length: 20 }, () =>
      ask(Array.from({ length: names }, () => `&scope=repository:x${made++}:pull`).join("")),
    );
    await Promise.all(requests);
  }
  if ((await ask(`&scope=repository:x${made++}:pull`)) !== 503) await flood();
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
  expect(await logins()).toEqual(usual);
});

describe("while strangers flood the token endpoint with names", () => {
  const deep = () => `x${made++}/${Array(19).fill("a").join("/")}`;
  const ofPodB = (user: number) => basic("deploy", routableToken("gldt-", `c:2k\no:1\nu:${user}`));

  test.each([
    ["a name", basic("reader", "reader"), basic("demo", "demo")],
    ["no name in their tokens, as with GitLab's deploy tokens", ofPodB(1), ofPodB(2)],
  ])(
    "one user who asks for tokens for made-up names keeps no other user waiting, if each has %s",
    async (_, one, other) => {
      const nameless = await new SignJWT()
        .setProtectedHeader({ alg: "HS256" })
        .setExpirationTime("5m")
        .sign(new Uint8Array(32));
      tokenService.answer((response) => void response.end(JSON.stringify({ token: nameless })));
      await forgetDepth(stack.current);
      await flood();
      const statuses: number[] = [];
      for (let request = 0; request < 11; request += 1) {
        const scopes = Array.from({ length: 50 }, () => `&scope=repository:${deep()}:pull`).join("");
        statuses.push(await ask(scopes, one));
      }
      expect(new Set(statuses)).toEqual(new Set([200, 503]));
      expect(await ask(`&scope=repository:${deep()}:pull`, other)).toBe(200);
    },
  );

  test("one user who mounts from made-up names keeps no other user waiting", async () => {
    await forgetDepth(stack.current);
    const client = createClient(stack.current.edge);
    const digest = await pushBlob(stack.current, "acme/mounting", "a layer");
    const token = await client.token(["repository:acme/mounting:pull,push"]);
    const mount = async () => {
      const path = `/v2/acme/mounting/blobs/uploads/?mount=${digest}&from=${deep()}`;
      return (await client.get(path, token, { method: "POST" })).status;
    };
    const statuses: number[] = [];
    for (let round = 0; round < 26; round += 1) {
      statuses.push(...(await Promise.all(Array.from({ length: 20 }, mount))));
    }
    // The Pod answers 401 to a mount from a name that the token does not allow. Once the user's budget is spent, the edge looks up no source, and
    // turns the mount into an upload (202).
    expect(new Set(statuses)).toEqual(new Set([202, 401]));
    await flood();
    expect(await ask(`&scope=repository:${deep()}:pull`, basic("reader", "reader"))).toBe(200);
  });
});
