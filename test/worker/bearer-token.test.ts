import type { ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack, withoutDefault } from "../support/toy-stack.ts";

const stack = useStack({ topology: withoutDefault });
const absentDigest = `sha256:${"0".repeat(64)}`;
const manifest = (repository: string) => `/v2/${repository}/manifests/1`;

async function visible(answer: Response, repository: string) {
  const headers = [...answer.headers].filter(([name]) => !["date", "connection", "keep-alive"].includes(name));
  return JSON.stringify([
    answer.status,
    headers.sort(([one], [other]) => one.localeCompare(other)),
    await answer.text(),
  ]).replaceAll(repository, "NAME");
}

describe("unassigned name", () => {
  const junk = "pods.v1.pod-a/eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.c2ln";
  test.each([
    ["a stranger", async () => null],
    ["a junk token", async () => "junk"],
    ["a junk JWT", async () => "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"],
    ["a bundle with an unknown key", async () => junk],
    [
      "a token without that name",
      (client: ReturnType<typeof createClient>) => client.token(["repository:acme/other:pull"]),
    ],
    ["a login token", (client: ReturnType<typeof createClient>) => client.token(["repository:globex/other:pull"])],
  ])("the answer to %s is the same as for an assigned name", async (_, tokenOf) => {
    const client = createClient(stack.current.edge);
    const token = await tokenOf(client);
    const answers: string[] = [];
    for (const repository of ["acme/private-x", "globex/private", "hooli/private1"]) {
      // No toy Pod has GitLab's API, so this path gets 404 from each of them.
      const gitlab = `/gitlab/v1/repositories/${repository}/`;
      const own = [manifest(repository), `/v2/${repository}/tags/list`, `/v2/${repository}/blobs/${absentDigest}`];
      const paths = [...own, gitlab];
      const all = await Promise.all(paths.map(async (path) => visible(await client.get(path, token), repository)));
      answers.push(all.join("\n"));
    }
    expect(answers[1]).toBe(answers[0]);
    expect(answers[2]).toBe(answers[0]);
    expect(answers[0]).toContain("UNAUTHORIZED");
  });

  test("a token that names it gets 404 NAME_UNKNOWN", async () => {
    const client = createClient(stack.current.edge);
    // The repository has no Pod, so a token from the edge gives no right to the repository.
    const forNothing = await client.token(["repository:hooli/app:pull"], "demo");
    expect((await client.get(manifest("hooli/app"), forNothing)).status).toBe(401);
    // A client may have an older token, from a time when the repository had a Pod. To get such a token, the test asks pod-a directly.
    const direct = await fetch(
      `${stack.current.pods["pod-a"].token.url}/jwt/auth?service=pod-a-registry&scope=repository:hooli/app:pull`,
      {
        headers: { Authorization: `Basic ${btoa("demo:demo")}` },
      },
    );
    const { token: jwt } = (await direct.json()) as { token: string };
    const answer = await client.get(manifest("hooli/app"), `pods.v1.pod-a/${jwt}`);
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ errors: [{ code: "NAME_UNKNOWN" }] });
  });
});

describe("with a token whose key is unknown", async () => {
  const pod = await startOddPod();
  const odd = useStack({ seedImages: false, topology: (text) => asPodB(pod)(withoutDefault(text)) });
  const unknown = "pods.v1.pod-b/eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.c2ln";

  test.each([
    ["breaks off", (response: ServerResponse) => void response.destroy()],
    ["answers 503", (response: ServerResponse) => void response.writeHead(503).end("Pod B is down")],
    ["answers 304", (response: ServerResponse) => void response.writeHead(304).end()],
    [
      "answers 401 with an error of its own",
      (response: ServerResponse) =>
        void response.writeHead(401, { "WWW-Authenticate": 'Bearer realm="x",error="insufficient_scope"' }).end(),
    ],
    ["redirects", (response: ServerResponse) => void response.writeHead(302, { Location: "https://x.test/" }).end()],
  ])("if a Pod %s, its names look like names without a Pod", async (_, answer) => {
    // In the test before, the isolate may have found the Pod down. A new isolate calls the Pod again.
    await odd.current.restartEdge();
    pod.answer(answer);
    const client = createClient(odd.current.edge);
    for (const path of ["manifests/1", `blobs/${absentDigest}`]) {
      const [assigned, free] = await Promise.all(
        ["globex/private", "hooli/private1"].map(async (name) =>
          visible(await client.get(`/v2/${name}/${path}`, unknown), name),
        ),
      );
      expect(assigned).toBe(free);
      expect(free).toMatch(/^\[401,.*invalid_token/);
    }
    expect(pod.seen.length).toBeGreaterThan(0);
  });

  test("a request with more than 200 headers reaches no Pod, and is answered like one for a name without a Pod", async () => {
    const client = createClient(odd.current.edge);
    const headers = Object.fromEntries(Array.from({ length: 201 }, (_, index) => [`x-${index}`, "1"]));
    const ask = async (name: string) => visible(await client.get(manifest(name), unknown, { headers }), name);
    const [assigned, free] = [await ask("globex/private"), await ask("hooli/private1")];
    expect(assigned).toBe(free);
    expect(free).toMatch(/^\[401,.*invalid_token/);
    expect(pod.seen).toEqual([]);
  });

  test.each([
    ["PUT", "manifests/1"],
    ["POST", "blobs/uploads/"],
    ["PATCH", "blobs/uploads/u-1"],
    ["PUT", "blobs/uploads/u-1"],
  ])("a Pod gets the body of a %s of %s only if it accepts the token", async (method, path) => {
    await odd.current.restartEdge();
    const good = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.Z29vZA";
    pod.answer((response, { headers, method: asked }) => {
      const status = headers.authorization !== `Bearer ${good}` ? 401 : asked === "GET" ? 200 : 202;
      response.writeHead(status).end();
    });
    const client = createClient(odd.current.edge);
    const statuses: number[] = [];
    for (const jwt of [good, good.replace(/Z29vZA$/, "YmFk")]) {
      const answer = await client.get(`/v2/globex/app/${path}`, `pods.v1.pod-b/${jwt}`, { method, body: "bytes" });
      statuses.push(answer.status);
    }
    expect(statuses).toEqual([202, 401]);
    expect(pod.seen.map(({ method: asked, path: at, body }) => `${asked} ${at} ${body}`)).toEqual([
      "GET /v2/ ",
      `${method} /v2/globex/app/${path} bytes`,
      "GET /v2/ ",
    ]);
  });
});

test("a request without a token gets a challenge made from its URL only, without a KV read or a Pod request", async () => {
  await stack.current.edgeSettled();
  stack.current.clearSeen();
  const kvReads = stack.current.kvReads();
  const client = createClient(stack.current.edge);
  for (const headers of [{}, { Authorization: `Basic ${btoa("demo:demo")}` }, { "X-Forwarded-Host": "evil.test" }]) {
    const answer = await client.get(manifest("acme/private"), null, { headers });
    expect([answer.status, answer.headers.get("Cache-Control")]).toEqual([401, "no-store"]);
    expect(answer.headers.get("WWW-Authenticate")).toBe(
      `Bearer realm="${stack.current.edge}/jwt/auth",service="registry-edge",scope="repository:acme/private:pull"`,
    );
  }
  await stack.current.edgeSettled();
  expect(stack.current.kvReads()).toBe(kvReads);
  expect(stack.current.seen("pod-a", "registry")).toEqual([]);
});

test("a request without a token costs no KV read and no Pod request, whatever its endpoint and name", async () => {
  await stack.current.edgeSettled();
  stack.current.clearSeen();
  const kvReads = stack.current.kvReads();
  const client = createClient(stack.current.edge);
  const named = ["acme/private", "globex/cold", "hooli/app"].flatMap((name) => [
    ["GET", `/v2/${name}/manifests/1`],
    ["DELETE", `/v2/${name}/manifests/1`],
    ["HEAD", `/v2/${name}/blobs/${absentDigest}`],
    ["GET", `/v2/${name}/blobs/${absentDigest}`],
    ["POST", `/v2/${name}/blobs/uploads/?mount=${absentDigest}&from=globex/private`],
    ["PATCH", `/v2/${name}/blobs/uploads/some?_pod=x`],
    ["GET", `/v2/${name}/tags/list?n=1`],
    ["GET", `/v2/${name}/referrers/${absentDigest}`],
    ["GET", `/gitlab/v1/repositories/${name}/`],
  ]);
  const nameless = ["/v2/", "/v2/_catalog", "/gitlab/v1/"].map((path) => ["GET", path]);
  for (const [method = "", path = ""] of [...named, ...nameless]) {
    const answer = await client.get(path, null, { method });
    expect([path, answer.status, answer.headers.get("WWW-Authenticate")?.split(",")[0]]).toEqual([
      path,
      401,
      `Bearer realm="${stack.current.edge}/jwt/auth"`,
    ]);
  }
  await stack.current.edgeSettled();
  expect(stack.current.kvReads()).toBe(kvReads);
  expect(stack.current.edgeSeen().filter(({ kvReads: own, podRequests }) => own + podRequests > 0)).toEqual([]);
  expect(stack.current.edgeSeen()).toHaveLength(named.length + nameless.length);
  for (const service of ["registry", "token", "storage"] as const) {
    expect([...stack.current.seen("pod-a", service), ...stack.current.seen("pod-b", service)]).toEqual([]);
  }
});

describe("token of Pod A", () => {
  test("it gives access to nothing on Pod B and is never sent there", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull"]);
    const jwt = token.split("/").slice(1).join("/");
    stack.current.clearSeen();
    for (const [sent, error] of [
      [token, "insufficient_scope"],
      [jwt, "invalid_token"],
      [`pods.v1.pod-b/${jwt}`, "invalid_token"],
    ] as const) {
      const answer = await client.get(manifest("globex/private"), sent);
      expect(answer.status).toBe(401);
      expect(answer.headers.get("WWW-Authenticate")).toContain(`error="${error}"`);
      expect(answer.headers.get("Location")).toBeNull();
    }
    expect(stack.current.seen("pod-b", "registry")).toEqual([]);
    expect((await client.get(manifest("acme/private"), token)).status).toBe(200);
    expect((await client.get(manifest("acme/private"), jwt)).status).toBe(200);
  });
});

describe("GET /v2/", () => {
  test("a token that verifies gets 200 without a Pod request, and any other token gets 401", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:globex/private:pull"]);
    stack.current.clearSeen();
    expect((await client.get("/v2/", token)).status).toBe(200);
    const refused = await client.get("/v2/", "a.b.c");
    expect([refused.status, refused.headers.get("WWW-Authenticate")]).toEqual([
      401,
      `Bearer realm="${stack.current.edge}/jwt/auth",service="registry-edge",error="invalid_token"`,
    ]);
    expect(stack.current.seen("pod-b", "registry")).toEqual([]);
  });
});

test("a blocked prefix or digest gets 403 DENIED with the operator's text, and no redirect", async () => {
  const client = createClient(stack.current.edge);
  const blockedDigest = `sha256:${"b".repeat(64)}`;
  const blocks = { "acme/leaky": "removed: see the security notice", [blockedDigest]: "this image is illegal" };
  await stack.current.putKv("blocks", JSON.stringify({ v: 1, revision: 2, blocks }));
  // A running isolate sees new blocks within 30 seconds, and a new isolate sees them at once.
  await stack.current.restartEdge();
  const token = await client.token(["repository:acme/leaky:pull", "repository:acme/fine:pull"]);
  for (const [path, text] of [
    [manifest("acme/leaky"), "removed: see the security notice"],
    [`/v2/acme/fine/blobs/${blockedDigest}`, "this image is illegal"],
  ] as const) {
    const answer = await client.get(path, token);
    expect(answer.status).toBe(403);
    expect(await answer.json()).toEqual({ errors: [{ code: "DENIED", message: text }] });
  }
  expect((await client.get(manifest("acme/leaky"))).status).toBe(401);
});
