import { decodeJwt } from "jose";
import { beforeEach, describe, expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { answerFormsToo, asTokenServices, startOddPod } from "../support/odd-pod.ts";
import { jobToken, routableToken } from "../support/routable-token.ts";
import { useStack } from "../support/toy-stack.ts";

/** A token request of a client. Its parameters have the names, the order and the encoding that the client's source code gives them. */
type TokenCall = { readonly query?: string; readonly form?: string; readonly chunked?: true; readonly basic?: string };

const service = "service=registry-edge";
const scopeOf = (name: string, actions: string) => `scope=${encodeURIComponent(`repository:${name}:${actions}`)}`;
const [a, b] = ["acme/private", "globex/private"];

const calls: Readonly<Record<string, { readonly call: TokenCall; readonly grants: Readonly<Record<string, string>> }>> =
  {
    "docker login": {
      call: { query: `account=demo&client_id=docker&offline_token=true&${service}`, basic: "demo:demo" },
      grants: {},
    },
    "docker push": {
      call: { query: `account=demo&${scopeOf(b, "push,pull")}&${service}`, basic: "demo:demo" },
      grants: { [b]: "pull,push" },
    },
    "docker push, the mount's source last": {
      call: { query: `account=demo&${scopeOf(b, "push,pull")}&${scopeOf(a, "pull")}&${service}`, basic: "demo:demo" },
      grants: { [a]: "pull", [b]: "pull,push" },
    },
    "containerd push, sorted, the mount's source first": {
      call: {
        query: `${scopeOf(a, "pull")}&${scopeOf(b, "pull")}&${scopeOf(b, "pull,push")}&${service}`,
        basic: "demo:demo",
      },
      grants: { [a]: "pull", [b]: "pull,push" },
    },
    "buildkit push, sorted by name": {
      call: { query: `${scopeOf(a, "pull")}&${scopeOf(b, "pull,push")}&${service}`, basic: "demo:demo" },
      grants: { [a]: "pull", [b]: "pull,push" },
    },
    "podman push, source after target": {
      call: { query: `account=demo&${scopeOf(b, "pull,push")}&${scopeOf(a, "pull")}&${service}`, basic: "demo:demo" },
      grants: { [a]: "pull", [b]: "pull,push" },
    },
    "podman delete": {
      call: { query: `account=demo&${scopeOf(a, "*")}&${service}`, basic: "demo:demo" },
      grants: { [a]: "*" },
    },
    "crane push, the challenge's scope before its own, in one value": {
      call: {
        query: `scope=${encodeURIComponent(`repository:${b}:pull repository:${b}:push,pull repository:${a}:pull`)}&${service}`,
        basic: "demo:demo",
      },
      grants: { [a]: "pull", [b]: "pull,push" },
    },
    "crane, anonymous, an empty service": {
      call: { query: "scope=repository%3Aacme%2Fhello%3Apull&service=" },
      grants: { "acme/hello": "pull" },
    },
    "oras copy, merged and sorted": {
      call: { query: `${service}&${scopeOf(a, "pull")}&${scopeOf(b, "pull,push")}`, basic: "demo:demo" },
      grants: { [a]: "pull", [b]: "pull,push" },
    },
    "oras delete": {
      call: { query: `${service}&${scopeOf(b, "delete")}`, basic: "demo:demo" },
      grants: { [b]: "delete" },
    },
    "regctl, all that it touched so far, in order of use": {
      call: {
        query: `account=demo&client_id=regclient%2Fregctl&${scopeOf(b, "pull")}&${scopeOf(a, "pull")}&${scopeOf(b, "pull,push")}&${service}`,
        basic: "demo:demo",
      },
      grants: { [a]: "pull", [b]: "pull,push" },
    },
  };

const identity = encodeURIComponent("demo:demo");
/** Clients first send these forms by POST. If the answer is 404, they send the same parameters by GET. */
const forms: typeof calls = {
  "containerd push": {
    call: {
      form: `client_id=containerd-client&grant_type=password&password=demo&scope=${encodeURIComponent(`repository:${a}:pull repository:${b}:pull,push`)}&${service}&username=demo`,
    },
    grants: { [a]: "pull", [b]: "pull,push" },
  },
  "buildx push": {
    call: {
      form: `client_id=buildkit-client&grant_type=password&password=demo&scope=${encodeURIComponent(`repository:${b}:pull,push`)}&${service}&username=demo`,
    },
    grants: { [b]: "pull,push" },
  },
  "docker with an identity token": {
    call: {
      form: `client_id=docker&grant_type=refresh_token&refresh_token=${identity}&scope=${encodeURIComponent(`repository:${a}:pull`)}&${service}`,
    },
    grants: { [a]: "pull" },
  },
  "podman with an identity token, repeated scopes, in chunks": {
    call: {
      form: `${scopeOf(b, "pull,push")}&${scopeOf(a, "pull")}&client_id=containers%2Fimage&grant_type=refresh_token&refresh_token=${identity}&${service}`,
      chunked: true,
    },
    grants: { [a]: "pull", [b]: "pull,push" },
  },
  "helm login": {
    call: { form: `client_id=oras-go&grant_type=password&password=demo&${service}&username=demo` },
    grants: {},
  },
  "nydus, Basic with a form without a grant type": {
    call: {
      form: `${service}&scope=${encodeURIComponent(`repository:${a}:pull`)}&client_id=nydus`,
      basic: "demo:demo",
    },
    grants: { [a]: "pull" },
  },
};

function send(edge: string, { query, form, chunked, basic }: TokenCall): Promise<Response> {
  const headers = new Headers(basic === undefined ? {} : { Authorization: `Basic ${btoa(basic)}` });
  const realm = `${edge}/jwt/auth`;
  if (form === undefined) return fetch(`${realm}?${query}`, { headers });
  headers.set("Content-Type", "application/x-www-form-urlencoded");
  if (chunked === undefined) return fetch(realm, { method: "POST", headers, body: form });
  const body = new ReadableStream({
    start(controller) {
      for (let at = 0; at < form.length; at += 40)
        controller.enqueue(new TextEncoder().encode(form.slice(at, at + 40)));
      controller.close();
    },
  });
  return fetch(realm, { method: "POST", headers, body, duplex: "half" } as RequestInit);
}

/** `grants` has exactly the actions that the token must allow, by repository name. A login ends with a GET of `/v2/`. */
async function expectGrants(edge: string, answer: Response, grants: Readonly<Record<string, string>>): Promise<void> {
  expect(answer.status).toBe(200);
  const body = (await answer.json()) as { token: string; access_token: string; expires_in: number };
  expect(body.access_token).toBe(body.token);
  expect(body.expires_in).toBeGreaterThan(280);
  const entries = body.token
    .replace("pods.v1.", "")
    .split("~")
    .flatMap((part) => decodeJwt(part.replace(/^pod-[ab]\//, ""))["access"] as { name: string; actions: string[] }[]);
  const granted: Record<string, readonly string[]> = {};
  for (const { name, actions } of entries) granted[name] = [...(granted[name] ?? []), ...actions];
  const sorted = Object.entries(granted).map(([name, actions]) => [name, [...new Set(actions)].sort().join()]);
  expect(Object.fromEntries(sorted)).toEqual(grants);
  expect((await createClient(edge).get("/v2/", body.token)).status).toBe(200);
}

describe("token services without POST, as GitLab's", () => {
  const stack = useStack();

  test.each(Object.entries(calls))("a client gets what it asks for: %s", async (_, { call, grants }) => {
    await expectGrants(stack.current.edge, await send(stack.current.edge, call), grants);
  });

  test.each(Object.entries(forms))("a form gets 404, so GET comes next: %s", async (_, { call, grants }) => {
    const answer = await send(stack.current.edge, call);
    expect([answer.status, await answer.text()]).toEqual([404, ""]);
    const parameters = new URLSearchParams(call.form);
    for (const name of ["password", "username", "refresh_token", "grant_type"]) parameters.delete(name);
    const again = await send(stack.current.edge, { query: parameters.toString(), basic: "demo:demo" });
    await expectGrants(stack.current.edge, again, grants);
  });
});

describe("token services with POST", async () => {
  const tokenServices = { "pod-a": await startOddPod(), "pod-b": await startOddPod() };
  const stack = useStack({ topology: asTokenServices(tokenServices["pod-a"], tokenServices["pod-b"]) });
  beforeEach(() => {
    for (const pod of ["pod-a", "pod-b"] as const) {
      answerFormsToo(tokenServices[pod], stack.current.pods[pod].token.direct);
    }
  });

  test.each(Object.entries({ ...calls, ...forms }))(
    "a client gets what it asks for: %s",
    async (_, { call, grants }) => {
      await expectGrants(stack.current.edge, await send(stack.current.edge, call), grants);
    },
  );

  test("a 404 from one of two Pods is the answer, even if the other Pod grants", async () => {
    tokenServices["pod-b"].answer(
      (response, { method }) => void response.writeHead(method === "POST" ? 404 : 403).end(),
    );
    const { call } = forms["containerd push"] ?? { call: {} };
    expect((await send(stack.current.edge, call)).status).toBe(404);
  });

  test("a Basic header reaches a Pod in its usual form, so no user gets the edge's own grant by a form at which a token service fails", async () => {
    const pair = btoa("demo:demo2");
    const usual = `Basic ${pair}`;
    const url = `${stack.current.edge}/jwt/auth?${service}&${scopeOf("acme/hello", "pull")}`;
    const ask = async (authorization: string) =>
      (await fetch(url, { headers: { Authorization: authorization } })).status;
    tokenServices["pod-a"].answer(async (response) => {
      const granted = await fetch(
        `${stack.current.pods["pod-a"].token.direct}/jwt/auth?service=pod-a-registry&${scopeOf("acme/hello", "pull")}`,
      );
      response.end(await granted.text());
    });
    expect(await ask(usual)).toBe(200);
    await stack.current.edgeSettled();
    tokenServices["pod-a"].answer(
      (response, { headers }) => void response.writeHead(headers.authorization === usual ? 403 : 500).end(),
    );
    for (const odd of [
      `Basic  ${pair}`,
      `bASIC ${pair}`,
      `Basic ${pair.replace(/=+$/, "")}`,
      `Basic ${pair.slice(0, 4)} ${pair.slice(4)}`,
    ]) {
      expect([odd, await ask(odd)]).toEqual([odd, 403]);
    }
  });

  test("each Pod is asked once, and learns the client's address and the edge's host", async () => {
    const query = `${service}&${scopeOf(a, "pull")}&${scopeOf(b, "pull")}`;
    // Cloudflare sets the first header. The others come from the client, so they are not believed.
    const headers = {
      "CF-Connecting-IP": "203.0.113.7",
      "X-Forwarded-For": "10.0.0.1",
      "X-Forwarded-Host": "evil.test",
    };
    await fetch(`${stack.current.edge}/jwt/auth?${query}`, { headers });
    for (const pod of ["pod-a", "pod-b"] as const) {
      const [asked, ...more] = tokenServices[pod].seen;
      expect(more).toEqual([]);
      expect(asked?.headers).toMatchObject({
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-host": new URL(stack.current.edge).host,
        "x-forwarded-proto": "http",
      });
    }
  });
});

describe("docker login", async () => {
  const tokenServices = { "pod-a": await startOddPod(), "pod-b": await startOddPod() };
  const withCells = (topology: string) =>
    asTokenServices(
      tokenServices["pod-a"],
      tokenServices["pod-b"],
    )(topology).replace("  pod-b:\n", '  pod-b:\n    cells: ["2k"]\n');
  const stack = useStack({ topology: withCells });
  const login = (basic?: string) =>
    send(stack.current.edge, {
      query: `account=u&client_id=docker&offline_token=true&${service}`,
      ...(basic === undefined ? {} : { basic }),
    });

  test.each([
    ["a password", "pod-a", async () => ["demo:demo", "demo:wrong"]],
    [
      "a routable personal access token",
      "pod-b",
      async () => [`u:${routableToken("glpat-", "c:2k\no:1\nu:5")}`, `u:${routableToken("glpat-", "c:2k\no:1\nu:6")}`],
    ],
    [
      "a CI job token",
      "pod-b",
      async () => [
        `gitlab-ci-token:${await jobToken({ c: "2k", o: "1" })}`,
        `gitlab-ci-token:${await jobToken({ c: "2k", o: "2" })}`,
      ],
    ],
  ] as const)("the Pod of %s (%s) answers it, and /v2/ takes the token", async (_, pod, make) => {
    const [good = "", wrong = ""] = await make();
    const own = tokenServices[pod];
    // This token service knows only the credential `good`, and answers it as the toy token service answers `demo`.
    own.answer(async (response, { path, headers }) => {
      const user = headers.authorization === `Basic ${btoa(good)}` ? "demo:demo" : "nobody:wrong";
      const Authorization = `Basic ${btoa(user)}`;
      const answer = await fetch(stack.current.pods[pod].token.direct + path, { headers: { Authorization } });
      response.writeHead(answer.status).end(await answer.text());
    });
    await expectGrants(stack.current.edge, await login(good), {});
    expect((await login(wrong)).status).toBe(401);
    const other = tokenServices[pod === "pod-a" ? "pod-b" : "pod-a"];
    expect([own.seen.length, other.seen.length]).toEqual([2, 0]);
  });

  test("the default Pod answers it when there are no credentials", async () => {
    answerFormsToo(tokenServices["pod-a"], stack.current.pods["pod-a"].token.direct);
    const answer = await login();
    expect([answer.status, await answer.json()]).toMatchObject([403, { errors: [{ code: "DENIED" }] }]);
  });
});
