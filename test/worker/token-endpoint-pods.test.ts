import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeJwt, SignJWT } from "jose";
import { describe, expect, test, vi } from "vitest";
import { createClient } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { rawClient } from "../support/raw-sockets.ts";
import { useStack, withOutage } from "../support/toy-stack.ts";
import { moveIn } from "../support/use-moves.ts";

const tokenService = await startOddPod();
/** With `graceSeconds: 0`, the edge grants nothing in place of a token service that is down. So clients see each outage. */
const topology = (text: string) => asPodB(tokenService, "TOKEN")(withOutage("graceSeconds: 0")(text));
const stack = useStack({ topology, seedImages: false });
const demo = { Authorization: `Basic ${btoa("demo:demo")}` };

const get = (query: string, headers: Record<string, string> = demo) =>
  fetch(`${stack.current.edge}/jwt/auth?service=registry-edge&${query}`, { headers });
const post = (form: Record<string, string>) =>
  fetch(`${stack.current.edge}/jwt/auth`, { method: "POST", body: new URLSearchParams(form) });
const codeOf = async (answer: Response) => ((await answer.json()) as { errors: { code: string }[] }).errors[0]?.code;

type TokenAnswer = { token: string; access_token: string; expires_in: number; issued_at: string };

test("the token endpoint completes a Pod's answer with both names, the true time left and the time of issue", async () => {
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

/** The edge does not verify this JWT, so any key will do. */
const grant = async (response: ServerResponse, exp = Math.floor(Date.now() / 1000) + 300) => {
  const jwt = await new SignJWT({ exp }).setProtectedHeader({ alg: "HS256" }).sign(new Uint8Array(32));
  response.writeHead(200).end(JSON.stringify({ token: jwt, refresh_token: "only Pod B can redeem this" }));
};
const refuse = (response: ServerResponse, status = 403) =>
  void response.writeHead(status).end('{"errors":[{"code":"DENIED","message":"from pod-b"}]}');
const podsOf = (body: TokenAnswer) => [...body.token.matchAll(/(pod-[ab])\//g)].map(([, pod]) => pod);
const both = "scope=repository:acme/a:pull&scope=repository:globex/b:pull";

describe("token endpoint, scopes", () => {
  test.each([
    "scope=repository:acme/a:pull&scope=repository:globex/b:pull,push",
    "scope=repository:acme/a:pull%20repository:globex/b:pull,push",
    "scope=repository:globex/b:pull,push&scope=repository:acme/a:pull",
  ])("each of two Pods is asked once for its own scopes, and their tokens become one bundle: %s", async (query) => {
    tokenService.answer((response) => grant(response));
    stack.current.clearSeen();
    const body = (await (await get(query)).json()) as TokenAnswer;
    expect(podsOf(body).toSorted()).toEqual(["pod-a", "pod-b"]);
    expect(body).not.toHaveProperty("refresh_token");
    const asked = [tokenService.seen, stack.current.seen("pod-a", "token")].map((seen) =>
      seen.map(({ path }) => new URL(path, "http://pod").searchParams.getAll("scope")),
    );
    expect(asked).toEqual([[["repository:globex/b:pull,push"]], [["repository:acme/a:pull"]]]);
  });

  test.each([
    ["a user", demo, "pull,push"],
    ["a stranger", {}, "pull"],
  ])("a scope with a class goes unchanged to the Pod of its repository, asked by %s", async (_, headers, actions) => {
    tokenService.answer((response) => grant(response));
    const scope = `repository(plugin):globex/b:${actions}`;
    await get(`scope=${scope}&scope=repository(a:b):globex/b:pull&scope=plugin:globex/b:pull`, headers);
    const asked = tokenService.seen.map(({ path }) => new URL(path, "http://pod").searchParams.getAll("scope"));
    expect(asked).toEqual([[scope]]);
  });

  test("a bundle lives as long as the part that ends first", async () => {
    tokenService.answer((response) => grant(response, Math.floor(Date.now() / 1000) + 100));
    const body = (await (await get(both)).json()) as TokenAnswer;
    expect(body.expires_in).toBeGreaterThan(95);
    expect(body.expires_in).toBeLessThanOrEqual(100);
  });

  test("a pull that ends within seconds is left out if another Pod's part lasts, and is given if it is all there is", async () => {
    tokenService.answer((response) => grant(response, Math.floor(Date.now() / 1000) + 20));
    const body = (await (await get(both)).json()) as TokenAnswer;
    expect([podsOf(body), body.expires_in]).toEqual([["pod-a"], 60]);
    for (const query of ["scope=repository:globex/b:pull", `${both},push`]) {
      const short = (await (await get(query)).json()) as TokenAnswer;
      expect(podsOf(short)).toContain("pod-b");
      expect(short.expires_in).toBeLessThanOrEqual(20);
    }
  });

  test("a pull that ends within seconds is given if the other Pod of a move, which does not serve the group, grants more time", async () => {
    const record = { v: 1, pod: "pod-b", revision: 1, state: "active", move: moveIn("copy", "pod-a") };
    await stack.current.putKv("route/moving", JSON.stringify(record));
    tokenService.answer((response) => grant(response, Math.floor(Date.now() / 1000) + 20));
    const body = (await (await get("scope=repository:moving/b:pull")).json()) as TokenAnswer;
    expect(podsOf(body)).toEqual(["pod-b", "pod-a"]);
    expect(body.expires_in).toBeLessThanOrEqual(20);
  });

  test("refused pulls are left out, and if all are refused, the first refusal is the answer", async () => {
    tokenService.answer((response) => refuse(response));
    expect(podsOf((await (await get(both)).json()) as TokenAnswer)).toEqual(["pod-a"]);
    const wrong = { Authorization: `Basic ${btoa("demo:wrong")}` };
    const answer = await get("scope=repository:globex/b:pull&scope=repository:acme/a:pull", wrong);
    expect([answer.status, await answer.text()]).toEqual([403, expect.stringContaining("from pod-b")]);
  });

  test("a refused write is the answer, whatever else is granted", async () => {
    tokenService.answer((response) => refuse(response));
    for (const actions of ["pull,push", "delete", "*"]) {
      const answer = await get(`scope=repository:acme/a:pull&scope=repository:globex/b:${actions}`);
      expect([answer.status, await answer.text()]).toEqual([403, expect.stringContaining("from pod-b")]);
    }
  });

  test.each([500, 503, 429, 302])(
    "a Pod that is down (%d) is left out for a minute if it was asked for pulls only",
    async (status) => {
      tokenService.answer((response) => refuse(response, status));
      const body = (await (await get(both)).json()) as TokenAnswer;
      expect([podsOf(body), body.expires_in]).toEqual([["pod-a"], 60]);
      const written = await get("scope=repository:acme/a:pull&scope=repository:globex/b:push");
      expect(written.status).toBe(status === 302 ? 502 : status);
    },
  );

  test("a Pod that cannot be reached makes the answer 503 if it was asked for a write or is the only one", async () => {
    tokenService.answer((response) => void response.destroy());
    for (const query of [
      "scope=repository:acme/a:pull&scope=repository:globex/b:push",
      "scope=repository:globex/b:pull",
    ]) {
      const answer = await get(query);
      expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
    }
  });

  test("a Pod that hangs delays a pull of two Pods by three seconds at most, and its call is ended", async () => {
    const left = Promise.withResolvers<void>();
    tokenService.answer((response) => void response.on("close", left.resolve));
    const startedAtMs = performance.now();
    const body = (await (await get(both)).json()) as TokenAnswer;
    expect([podsOf(body), body.expires_in]).toEqual([["pod-a"], 60]);
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
    await left.promise;
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
  });

  test("a Pod that answers after four seconds is waited for if no other Pod grants its part", async () => {
    tokenService.answer(async (response) => {
      await sleep(4_000);
      await grant(response);
    });
    const only = get("scope=repository:globex/b:pull");
    await stack.current.setFault("pod-a", "token", { mode: "status", status: 503 });
    const bodies = await Promise.all([only, get(both)].map(async (answer) => (await answer).json()));
    await stack.current.setFault("pod-a", "token", { mode: "none" });
    expect(bodies.map((body) => podsOf(body as TokenAnswer))).toEqual([["pod-b"], ["pod-b"]]);
  });

  test("a Pod that answers a write after four seconds is waited for", async () => {
    tokenService.answer(async (response) => {
      await sleep(4_000);
      await grant(response);
    });
    const body = await (await get("scope=repository:acme/a:pull&scope=repository:globex/b:push")).json();
    expect(podsOf(body as TokenAnswer).toSorted()).toEqual(["pod-a", "pod-b"]);
  });

  test("a token service whose connection is reset makes the answer 503 with Retry-After", async () => {
    await stack.current.setFault("pod-a", "token", { mode: "reset" });
    const answer = await get("scope=repository:acme/a:pull");
    await stack.current.setFault("pod-a", "token", { mode: "none" });
    expect([answer.status, answer.headers.get("Retry-After"), await codeOf(answer)]).toEqual([503, "5", "UNAVAILABLE"]);
  });

  test("more than 200 scopes are refused before any Pod is asked", async () => {
    const scopes = Array.from({ length: 201 }, (_, index) => `scope=repository:globex/r${index}:pull`);
    const answer = await get(scopes.join("&"));
    expect([answer.status, await codeOf(answer)]).toEqual([400, "UNSUPPORTED"]);
    expect(tokenService.seen).toEqual([]);
  });

  test("scopes of more than five Pods are refused before any Pod is asked", async () => {
    for (const pod of ["pod-c", "pod-d", "pod-e", "pod-f"]) {
      await stack.current.putKv(`route/${pod}`, JSON.stringify({ v: 1, pod, revision: 1, state: "active" }));
    }
    stack.current.clearSeen();
    const groups = ["acme", "globex", "pod-c", "pod-d", "pod-e", "pod-f"];
    const answer = await get(groups.map((group) => `scope=repository:${group}/app:pull`).join("&"));
    const message = "scopes belong to 6 registries; want at most 5 in one token";
    expect([answer.status, await answer.json()]).toEqual([400, { errors: [{ code: "UNSUPPORTED", message }] }]);
    expect([tokenService.seen, stack.current.seen("pod-a", "token")]).toEqual([[], []]);
  });

  test("all scopes for the catalog count as one, because each Pod is asked for its catalog", async () => {
    tokenService.answer((response) => grant(response));
    const answer = await get("scope=registry:catalog:*&scope=repository:globex/b:pull&scope=registry:catalog:a,*");
    expect(answer.status).toBe(200);
    const asked = tokenService.seen.map(({ path }) => new URL(path, "http://pod").searchParams.getAll("scope"));
    expect(asked).toEqual([["repository:globex/b:pull", "registry:catalog:*,a"]]);
  });

  test("equal scopes count once and are asked for once", async () => {
    tokenService.answer((response) => grant(response));
    const answer = await get(`${"scope=repository:globex/b:pull&".repeat(100)}scope=repository:globex/c:pull`);
    expect(answer.status).toBe(200);
    const asked = tokenService.seen.map(({ path }) => new URL(path, "http://pod").searchParams.getAll("scope"));
    expect(asked).toEqual([["repository:globex/b:pull", "repository:globex/c:pull"]]);
  });

  test("a request for another service is refused", async () => {
    const answer = await fetch(`${stack.current.edge}/jwt/auth?service=elsewhere&scope=repository:globex/b:pull`);
    expect([answer.status, await codeOf(answer)]).toEqual([400, "UNSUPPORTED"]);
  });
});

describe("token endpoint, forms", () => {
  test("a Pod gets a form with its own audience and without a wish for an offline token", async () => {
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

  test("a form that the Pod does not serve gets 404, so that clients come back with GET", async () => {
    for (const status of [404, 405]) {
      tokenService.answer((response) => void response.writeHead(status).end("no"));
      const form = { grant_type: "password", username: "demo", password: "demo" };
      expect((await post({ ...form, scope: "repository:globex/b:pull" })).status).toBe(404);
    }
  });

  test("a form whose connection to the Pod breaks is sent once more, as a GET is", async () => {
    for (const ask of [
      () => get("scope=repository:globex/b:pull"),
      () => post({ grant_type: "password", username: "demo", password: "demo", scope: "repository:globex/b:pull" }),
    ]) {
      let calls = 0;
      tokenService.answer((response) => {
        calls += 1;
        return calls === 1 ? void response.destroy() : grant(response);
      });
      expect([(await ask()).status, calls]).toEqual([200, 2]);
    }
  });

  test("a form that is too long is refused", async () => {
    const answer = await post({ scope: "repository:globex/b:pull", padding: "x".repeat(100_000) });
    expect([answer.status, await codeOf(answer)]).toEqual([400, "QUERY_INVALID"]);
    expect(tokenService.seen).toEqual([]);
  });

  test("a form or a query of more than 300 parameters is refused", async () => {
    const parameters = "scope=repository:globex/b:pull&".repeat(300);
    const form = { method: "POST", body: parameters };
    const headers = { "Content-Type": "application/x-www-form-urlencoded" };
    for (const answer of [await fetch(`${stack.current.edge}/jwt/auth`, { ...form, headers }), await get(parameters)]) {
      expect([answer.status, await codeOf(answer)]).toEqual([400, "QUERY_INVALID"]);
    }
    expect(tokenService.seen).toEqual([]);
  });

  test.each([
    ["breaks off", "Transfer-Encoding: chunked", "5\r\nscope\r\nzz\r\n"],
    ["stops", "Content-Length: 100", "scope=repository:globex/b:pull"],
  ])("a form that %s is refused in time", async (_, framing, body) => {
    const client = await rawClient(stack.current.edge);
    client.send(`POST /jwt/auth HTTP/1.1\r\nHost: edge\r\n${framing}\r\n\r\n${body}`);
    await vi.waitFor(() => expect(client.received()).toMatch(/^HTTP\/1\.1 400 [\s\S]*QUERY_INVALID/), {
      timeout: 15_000,
    });
    client.socket.destroy();
    expect(tokenService.seen).toEqual([]);
  });
});

test("a token service that refuses requests without a User-Agent gets the edge's own, and never the client's", async () => {
  tokenService.answer((response, { headers }) =>
    headers["user-agent"] === undefined ? refuse(response) : grant(response),
  );
  const scope = "scope=repository:globex/b:pull";
  const headers = { "User-Agent": "docker/27" };
  const body = `${scope}&grant_type=password&username=demo&password=demo`;
  expect((await get(scope, { ...demo, ...headers })).status).toBe(200);
  expect((await fetch(`${stack.current.edge}/jwt/auth`, { method: "POST", headers, body })).status).toBe(200);
  const asked = tokenService.seen.map(({ method, headers: sent }) => [method, sent["user-agent"]]);
  expect(asked).toEqual([
    ["GET", "registry-edge"],
    ["POST", "registry-edge"],
  ]);
});

describe("token endpoint, a Pod's answer", () => {
  test.each([
    ["a refusal with a reason", 403, '{"errors":[{"code":"DENIED","message":"access forbidden"}],"http_status":403}'],
    ["a rate limit", 429, "slow down"],
  ])("%s is passed on as it is", async (_, status, body) => {
    const headers = { "Content-Type": "application/json", "Retry-After": "7", "Set-Cookie": "a=b" };
    tokenService.answer((response) => void response.writeHead(status, headers).end(body));
    const answer = await get("scope=repository:globex/b:pull");
    expect([answer.status, await answer.text(), answer.headers.get("Retry-After")]).toEqual([status, body, "7"]);
    expect(answer.headers.get("Set-Cookie")).toBeNull();
  });

  test.each([
    ["a part of another Pod after its token", '{"token":"aaaa.bbbb.cccc~pod-a/dddd.eeee.ffff"}'],
    ["another Pod's name before its token", '{"token":"pod-a/dddd.eeee.ffff"}'],
    ["a bundle of its own making", '{"token":"pods.v1.pod-a/dddd.eeee.ffff"}'],
    ["two parts", '{"token":"dddd.eeee"}'],
    ["a line break in its token", '{"token":"dddd.eeee.ffff\\n"}'],
    ["a list", '[{"token":"dddd.eeee.ffff"}]'],
    ["1 MB", `{"token":"dddd.${"x".repeat(1_000_000)}.ffff"}`],
    ["no JWT", '{"token":"opaque"}'],
    ["a JWT longer than 32 KB", `{"token":"aaaa.${"b".repeat(32 * 1024)}.cccc"}`],
    ["no token", "{}"],
    ["no JSON", "<html>"],
    ["more bytes than a token answer can have", `{"token":"a.b.c","padding":"${"x".repeat(100_000)}"}`],
  ])("an answer with %s becomes 502, and nothing of it is passed on", async (_, body) => {
    tokenService.answer((response) => void response.writeHead(200).end(body));
    const answer = await get("scope=repository:globex/b:pull");
    const text = await answer.text();
    expect(answer.status).toBe(502);
    expect(text).toContain('"code":"UNKNOWN"');
    expect(text).not.toMatch(/dddd|opaque|html|xxxx/);
  });

  test.each([
    ["no end", {}],
    ["an end in the past", { exp: Math.floor(Date.now() / 1000) - 1 }],
    ["an end long ago", { exp: 9 }],
    ["an end that is text", { exp: "tomorrow" }],
    ["an end that no client reads", { exp: 1e300 }],
    ["claims that are not an object", 7],
  ])("a token with %s is a wrong answer, but another Pod's good part stays", async (_, claims) => {
    const [header, payload] = [{ alg: "RS256", kid: "k" }, claims].map((part) =>
      Buffer.from(JSON.stringify(part)).toString("base64url"),
    );
    const jwt = `${header}.${payload}.c2ln`;
    tokenService.answer((response) => void response.writeHead(200).end(JSON.stringify({ token: jwt })));
    stack.current.clearSeen();
    const pulled = (await (await get(both)).json()) as TokenAnswer;
    expect([podsOf(pulled), pulled.expires_in]).toEqual([["pod-a"], 60]);
    const written = await get("scope=repository:acme/a:pull&scope=repository:globex/b:push");
    expect([written.status, await codeOf(written)]).toEqual([502, "UNKNOWN"]);
    const only = await get("scope=repository:globex/b:pull");
    expect([only.status, await only.text()]).toEqual([502, expect.not.stringContaining(jwt)]);
    expect([tokenService.seen.length, stack.current.seen("pod-a", "token").length]).toEqual([3, 2]);
  });

  test("an answer with another Pod's token gives access to nothing", async () => {
    const scope = "repository:acme/private:pull";
    const good = await createClient(stack.current.edge).token([scope]);
    const ofA = good.replace("pods.v1.pod-a/", "");
    tokenService.answer((response) => void response.writeHead(200).end(JSON.stringify({ token: ofA })));
    const { token } = (await (await get("scope=repository:globex/b:pull")).json()) as TokenAnswer;
    expect(token).toBe(`pods.v1.pod-b/${ofA}`);
    const client = createClient(stack.current.edge);
    stack.current.clearSeen();
    for (const name of ["acme/private", "globex/b"]) {
      expect((await client.get(`/v2/${name}/manifests/1`, token)).status).toBe(401);
    }
    expect((await client.get("/v2/", token)).status).toBe(401);
    expect([...stack.current.seen("pod-a", "registry"), ...stack.current.seen("pod-b", "registry")]).toEqual([]);
  });

  test("an answer with a status outside 200–599 becomes 502", async () => {
    tokenService.answer((response) => void response.socket?.end("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"));
    const answer = await get("scope=repository:globex/b:pull");
    expect([answer.status, await codeOf(answer)]).toEqual([502, "UNKNOWN"]);
  });

  test("a redirect is not followed, because credentials would go elsewhere", async () => {
    tokenService.answer((response) => void response.writeHead(302, { Location: `${tokenService.url}/else` }).end());
    const answer = await get("scope=repository:globex/b:pull");
    expect([answer.status, answer.headers.get("Location"), await codeOf(answer)]).toEqual([502, null, "UNKNOWN"]);
    expect(tokenService.seen).toHaveLength(1);
  });
});
