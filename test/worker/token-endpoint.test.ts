import { decodeJwt } from "jose";
import { describe, expect, test } from "vitest";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack } from "../support/toy-stack.ts";

const tokenService = await startOddPod();
const stack = useStack({ topology: asPodB(tokenService, "TOKEN"), seedImages: false });
const demo = { Authorization: `Basic ${btoa("demo:demo")}` };

const get = (query: string, headers: Record<string, string> = demo) =>
  fetch(`${stack.current.edge}/jwt/auth?service=registry-edge&${query}`, { headers });
const post = (form: Record<string, string>) =>
  fetch(`${stack.current.edge}/jwt/auth`, { method: "POST", body: new URLSearchParams(form) });
const codeOf = async (answer: Response) => ((await answer.json()) as { errors: { code: string }[] }).errors[0]?.code;

type TokenAnswer = { token: string; access_token: string; expires_in: number; issued_at: string };

/** From Pod A, whose token service sends `token` alone, as GitLab's does. */
test("an answer is completed: both names, the true time left, and when it was issued", async () => {
  const answer = await get("scope=repository:acme/app:pull&account=demo&client_id=docker&offline_token=true");
  expect([answer.status, answer.headers.get("Cache-Control")]).toEqual([200, "no-store"]);
  const body = (await answer.json()) as TokenAnswer;
  expect(body.access_token).toBe(body.token);
  const { exp = 0 } = decodeJwt(body.token.replace(/^pods\.v1\.pod-a\//, ""));
  expect(Math.abs(exp - Date.now() / 1000 - body.expires_in)).toBeLessThan(3);
  expect(Math.abs(Date.parse(body.issued_at) - Date.now())).toBeLessThan(3_000);
  expect(stack.current.seen("pod-a", "token").at(-1)?.path).toBe(
    "/jwt/auth?service=pod-a-registry&account=demo&client_id=docker&scope=repository%3Aacme%2Fapp%3Apull",
  );
});

describe("scopes", () => {
  test("of the Pod to be written to decide, whatever their order and form", async () => {
    tokenService.answer((response) => void response.writeHead(401).end("{}"));
    for (const query of [
      "scope=repository:acme/a:pull&scope=repository:globex/b:pull,push",
      "scope=repository:acme/a:pull%20repository:globex/b:push,pull",
      "scope=repository:globex/b:*&scope=repository:acme/a:pull",
    ]) {
      await get(query);
    }
    const asked = tokenService.seen.map(({ path }) => new URL(path, "http://pod").searchParams.getAll("scope"));
    expect(asked).toEqual([
      ["repository:globex/b:pull,push"],
      ["repository:globex/b:push,pull"],
      ["repository:globex/b:*"],
    ]);
    expect(tokenService.seen.every(({ path }) => path.includes("service=pod-b-registry"))).toBe(true);
  });

  test("that are too many are refused before any call", async () => {
    const scopes = Array.from({ length: 65 }, (_, index) => `scope=repository:globex/r${index}:pull`);
    const answer = await get(scopes.join("&"));
    expect([answer.status, await codeOf(answer)]).toEqual([400, "UNSUPPORTED"]);
    expect(tokenService.seen).toEqual([]);
  });

  test("for another service are refused", async () => {
    const answer = await fetch(`${stack.current.edge}/jwt/auth?service=elsewhere&scope=repository:globex/b:pull`);
    expect([answer.status, await codeOf(answer)]).toEqual([400, "UNSUPPORTED"]);
  });
});

describe("a form", () => {
  test("goes to the Pod as a form, with its audience and without what one Pod alone could redeem", async () => {
    tokenService.answer((response) => void response.writeHead(401).end("{}"));
    const scope = "repository:globex/b:pull";
    const own = { grant_type: "password", username: "demo", password: "demo", client_id: "docker" };
    await post({ ...own, service: "registry-edge", scope, access_type: "offline" });
    const [received] = tokenService.seen;
    expect([received?.method, received?.path]).toEqual(["POST", "/jwt/auth"]);
    expect(Object.fromEntries(new URLSearchParams(received?.body))).toEqual({
      ...own,
      service: "pod-b-registry",
      scope,
    });
  });

  test("that the Pod's service does not know is 404, so that clients come with GET", async () => {
    for (const status of [404, 405]) {
      tokenService.answer((response) => void response.writeHead(status).end("no"));
      const form = { grant_type: "password", username: "demo", password: "demo" };
      expect((await post({ ...form, scope: "repository:globex/b:pull" })).status).toBe(404);
    }
  });

  test("that does not end is refused", async () => {
    const answer = await post({ scope: "repository:globex/b:pull", padding: "x".repeat(70_000) });
    expect([answer.status, await codeOf(answer)]).toEqual([400, "QUERY_INVALID"]);
    expect(tokenService.seen).toEqual([]);
  });
});

describe("a token service", () => {
  test.each([
    [
      "that refuses is heard as it is",
      403,
      '{"errors":[{"code":"DENIED","message":"access forbidden"}],"http_status":403}',
    ],
    ["that does not know the password is heard as it is", 401, '{"errors":[{"code":"UNAUTHORIZED"}]}'],
    ["that limits is heard as it is", 429, "slow down"],
  ])("%s", async (_, status, body) => {
    const headers = { "Content-Type": "application/json", "Retry-After": "7", "Set-Cookie": "a=b" };
    tokenService.answer((response) => void response.writeHead(status, headers).end(body));
    const answer = await get("scope=repository:globex/b:pull");
    expect([answer.status, await answer.text(), answer.headers.get("Retry-After")]).toEqual([status, body, "7"]);
    expect(answer.headers.get("Set-Cookie")).toBeNull();
  });

  test.each([
    ["a part of another Pod beside its token", '{"token":"aaaa.bbbb.cccc~pod-a/dddd.eeee.ffff"}'],
    ["no JWT", '{"token":"opaque"}'],
    ["a JWT longer than 8 KB", `{"token":"aaaa.${"b".repeat(8192)}.cccc"}`],
    ["no token", "{}"],
    ["no JSON", "<html>"],
    ["more than it could mean", `{"token":"a.b.c","padding":"${"x".repeat(70_000)}"}`],
  ])("that answers with %s is 502, and nothing of it is passed on", async (_, body) => {
    tokenService.answer((response) => void response.writeHead(200).end(body));
    const answer = await get("scope=repository:globex/b:pull");
    const text = await answer.text();
    expect(answer.status).toBe(502);
    expect(text).toContain('"code":"UNKNOWN"');
    expect(text).not.toMatch(/dddd|opaque|html|xxxx/);
  });

  test("that redirects is not followed: credentials go nowhere else", async () => {
    tokenService.answer((response) => void response.writeHead(302, { Location: `${tokenService.url}/else` }).end());
    const answer = await get("scope=repository:globex/b:pull");
    expect([answer.status, answer.headers.get("Location"), await codeOf(answer)]).toEqual([502, null, "UNKNOWN"]);
    expect(tokenService.seen).toHaveLength(1);
  });
});
