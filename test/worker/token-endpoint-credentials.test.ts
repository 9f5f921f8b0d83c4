import { decodeJwt } from "jose";
import { afterEach, describe, expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { asTokenServices, startOddPod } from "../support/odd-pod.ts";
import { jobToken, routableToken } from "../support/routable-token.ts";
import { useStack, withoutDefault } from "../support/toy-stack.ts";

const podIds = ["pod-a", "pod-b"] as const;
const basic = (user: string, password: string) => ({ Authorization: `Basic ${btoa(`${user}:${password}`)}` });
const demo = basic("demo", "demo");
const withCells = (topology: string) =>
  topology.replace("  pod-a:\n", '  pod-a:\n    cells: ["1"]\n').replace("  pod-b:\n", '  pod-b:\n    cells: ["2k"]\n');
const owning = (topology: string) => withCells(topology).replace(/^credentials:.*$/m, "credentials: own");

function ask(edge: string, scopes: readonly string[], headers: Record<string, string>): Promise<Response> {
  const query = new URLSearchParams([
    ["service", "registry-edge"],
    ["account", "demo"],
    ...scopes.map((scope) => ["scope", scope]),
  ]);
  return fetch(`${edge}/jwt/auth?${query.toString()}`, { headers });
}

const tokenOf = async (answer: Response) => ((await answer.json()) as { token: string }).token;

describe("with `credentials: own`", () => {
  const stack = useStack({ topology: owning });
  const askOwn = (scopes: readonly string[], headers: Record<string, string>) =>
    ask(stack.current.edge, scopes, headers);
  /** For each Pod, the kind of credentials in each request to its token service. */
  const shown = () => podIds.map((pod) => stack.current.seen(pod, "token").map(({ authorization }) => authorization));
  afterEach(() => stack.current.clearSeen());

  test("only the default Pod sees a password, and other Pods are asked anonymously and for pull only", async () => {
    const token = await tokenOf(
      await askOwn(["repository:globex/hello:pull,push", "repository:acme/private:pull,push"], demo),
    );
    expect(shown()).toEqual([["basic"], ["none"]]);
    expect(stack.current.seen("pod-b", "token")[0]?.path).toBe(
      "/jwt/auth?service=pod-b-registry&scope=repository%3Aglobex%2Fhello%3Apull",
    );
    const client = createClient(stack.current.edge);
    const statusOf = async (method: string, path: string) => (await client.get(path, token, { method })).status;
    expect(await statusOf("GET", "/v2/globex/hello/manifests/1")).toBe(200);
    expect(await statusOf("POST", "/v2/globex/hello/blobs/uploads/")).toBe(401);
    expect(await statusOf("GET", "/v2/acme/private/manifests/1")).toBe(200);
    expect(await statusOf("POST", "/v2/acme/private/blobs/uploads/")).toBe(202);
    expect(await statusOf("GET", "/v2/globex/private/manifests/1")).toBe(401);
  });

  test("a user of the default Pod may pull a public image of another Pod, but not a private one", async () => {
    const pulled = await askOwn(["repository:globex/hello:pull"], demo);
    expect([pulled.status, shown()]).toEqual([200, [[], ["none"]]]);
    const refused = await askOwn(["repository:globex/private:pull"], demo);
    expect(decodeJwt((await tokenOf(refused)).split("/")[1] ?? "")).toMatchObject({ iss: "pod-a-issuer", access: [] });
    const mixed = await askOwn(["repository:globex/private:pull,push", "repository:acme/private:pull"], demo);
    expect(await tokenOf(mixed)).toMatch(/^pods\.v1\.pod-a\/[^~]+$/);
    expect(stack.current.seen("pod-b", "token").filter(({ authorization }) => authorization !== "none")).toEqual([]);
  });

  test("a wrong password gets the same answer for an assigned name as for a free one", async () => {
    for (const actions of ["pull", "pull,push", "*"]) {
      const [assigned, free] = await Promise.all(
        ["globex/private", "hooli/private"].map(async (name) => {
          const answer = await askOwn([`repository:${name}:${actions}`], basic("demo", "wrong"));
          return [answer.status, await answer.text()];
        }),
      );
      expect(assigned).toEqual(free);
      expect(assigned?.[0]).toBe(401);
    }
  });

  test.each([
    ["a personal access token", async () => routableToken("glpat-", "c:2k\no:1\nu:1z")],
    ["a CI job token", () => jobToken({ version: "0.1.0", c: "2k", o: "1", p: "a" })],
  ])("%s that names its cell goes only to that Pod, whatever the user and the scopes are", async (_, make) => {
    const own = basic("anyone", await make());
    // The password names the cell of pod-b. The edge asks only pod-b, and passes on its answer: 401, because no toy Pod knows this password.
    expect([(await askOwn([], own)).status, shown()]).toEqual([401, [[], ["basic"]]]);
    stack.current.clearSeen();
    await askOwn(["repository:acme/hello:pull", "repository:globex/private:pull,push"], own);
    expect(shown()).toEqual([["none"], ["basic"]]);
    stack.current.clearSeen();
    const [, password = ""] = atob(own.Authorization.slice("Basic ".length)).split(":");
    const form = new URLSearchParams({ grant_type: "password", username: "anyone", password });
    await fetch(`${stack.current.edge}/jwt/auth`, { method: "POST", body: form });
    expect(podIds.map((pod) => stack.current.seen(pod, "token").map(({ method }) => method))).toEqual([[], ["POST"]]);
  });

  test("a routable token of an unknown cell, or with a wrong checksum, is treated as a password", async () => {
    const routable = routableToken("", "c:2k\no:1");
    const broken = routable.slice(0, -1) + (routable.endsWith("0") ? "1" : "0");
    for (const secret of [routableToken("glpat-", "c:zz\no:1"), broken, await jobToken({ c: "9" })]) {
      await askOwn([], basic("anyone", secret));
    }
    expect(shown()).toEqual([["basic", "basic", "basic"], []]);
  });

  test("the default Pod answers a login without credentials", async () => {
    const answer = await askOwn([], {});
    expect([answer.status, shown()]).toEqual([403, [["none"], []]]);
  });

  test("a catalog needs credentials that every Pod takes", async () => {
    const client = createClient(stack.current.edge);
    const answer = await client.get("/v2/_catalog", await client.token(["registry:catalog:*"]));
    expect([answer.status, await answer.text()]).toEqual([401, expect.stringContaining("1 of 2 registries")]);
    expect(shown()).toEqual([["basic"], []]);
  });
});

describe("with `credentials: own` and token services that grant nothing", async () => {
  const [ofA, ofB] = [await startOddPod(), await startOddPod()];
  const stack = useStack({ topology: (text) => asTokenServices(ofA, ofB)(owning(text)), seedImages: false });
  const claims = { iss: "pod-a-issuer", access: [], exp: Math.floor(Date.now() / 1000) + 900 };
  const jwt = ["{}", JSON.stringify(claims), "sig"].map((part) => Buffer.from(part).toString("base64url")).join(".");

  test("a good password gets the same answer for an assigned name as for a free one", async () => {
    for (const pod of [ofA, ofB]) {
      // Like GitLab's, these token services give a user a token without rights, and refuse a stranger.
      pod.answer((response, { headers }) => {
        if (headers.authorization === demo.Authorization) response.writeHead(200).end(JSON.stringify({ token: jwt }));
        else response.writeHead(403).end('{"errors":[{"code":"DENIED","message":"access forbidden"}]}');
      });
    }
    for (const scopes of ["NAME:pull", "NAME:push", "NAME:pull,push", "NAME:*", "NAME:pull NAME/other:pull,push"]) {
      const [assigned, free] = await Promise.all(
        ["globex/private", "hooli/private"].map(async (name) => {
          const asked = scopes.split(" ").map((scope) => `repository:${scope.replace("NAME", name)}`);
          const answer = await ask(stack.current.edge, asked, demo);
          const body = (await answer.json()) as { token?: string };
          return [answer.status, body.token, Object.keys(body)];
        }),
      );
      expect(assigned, scopes).toEqual(free);
      expect(assigned?.slice(0, 2), scopes).toEqual([200, `pods.v1.pod-a/${jwt}`]);
    }
    expect(ofA.seen.filter(({ path }) => path.includes("globex"))).toEqual([]);
    expect(ofB.seen.map(({ headers }) => headers.authorization)).toEqual(ofB.seen.map(() => undefined));
  });

  test("a Pod that answers strangers with 429 does not tell a good password of another Pod that a name is assigned", async () => {
    ofA.answer((response) => void response.writeHead(200).end(JSON.stringify({ token: jwt })));
    ofB.answer((response) => void response.writeHead(429).end("Retry later"));
    for (const name of ["globex/private", "hooli/private"]) {
      const answer = await ask(stack.current.edge, [`repository:${name}:pull`], demo);
      expect([answer.status, await tokenOf(answer)]).toEqual([200, `pods.v1.pod-a/${jwt}`]);
    }
  });

  test("while a Pod of the scopes cannot be asked, a good password gets 503 and a wrong one gets 401", async () => {
    ofA.answer((response, { headers }) => {
      if (headers.authorization === demo.Authorization) response.writeHead(200).end(JSON.stringify({ token: jwt }));
      else response.writeHead(401).end();
    });
    ofB.answer((response) => void response.writeHead(503).end());
    const statusOf = async (credentials: Record<string, string>) =>
      (await ask(stack.current.edge, ["repository:globex/private:pull"], credentials)).status;
    expect([await statusOf(demo), await statusOf(basic("demo", "wrong"))]).toEqual([503, 401]);
  });
});

describe("with `credentials: shared` and token services with words of their own", async () => {
  const [ofA, ofB] = [await startOddPod(), await startOddPod()];
  const stack = useStack({ topology: asTokenServices(ofA, ofB), seedImages: false });
  const answerOf = async (scopes: readonly string[]) => {
    const answer = await ask(stack.current.edge, scopes, basic("demo", "made up"));
    const headers = ["Content-Type", "Retry-After"].map((name) => answer.headers.get(name));
    return [answer.status, ...headers, await answer.text()];
  };

  test("a made-up password gets one answer for the names of every Pod and for free ones, and docker shows what to do", async () => {
    for (const [id, pod] of [["pod-a", ofA] as const, ["pod-b", ofB] as const]) {
      const headers = { "Content-Type": "application/json", ...(id === "pod-b" ? { "Retry-After": "7" } : {}) };
      const body = `{"errors":[{"code":"UNAUTHORIZED","message":"See https://${id}.test/help"}]}`;
      pod.answer((response) => void response.writeHead(401, headers).end(body));
    }
    for (const actions of ["pull", "pull,push", "*"]) {
      const [first, ...others] = await Promise.all(
        ["acme/private", "globex/private", "hooli/private"].map((name) => answerOf([`repository:${name}:${actions}`])),
      );
      expect(others).toEqual([first, first]);
      expect(first).toEqual([401, "application/json", null, expect.stringContaining("log in again")]);
    }
    expect(await answerOf([])).toEqual([
      401,
      "application/json",
      null,
      expect.stringContaining("https://pod-a.test/help"),
    ]);
  });

  test("a Pod's own 403 passes, because it tells a user why", async () => {
    ofB.answer((response) => void response.writeHead(403).end("the quota of globex is used up"));
    expect(await answerOf(["repository:globex/private:push"])).toEqual([
      403,
      "text/plain",
      null,
      expect.stringContaining("quota"),
    ]);
  });
});

describe("with `credentials: own` and no default Pod", () => {
  const stack = useStack({ topology: (text) => withoutDefault(owning(text)), seedImages: false });

  test("a login, which names no repository, gets 401 and reaches no Pod", async () => {
    const answer = await ask(stack.current.edge, [], demo);
    expect([answer.status, await answer.json()]).toMatchObject([401, { errors: [{ code: "UNAUTHORIZED" }] }]);
    expect(podIds.flatMap((pod) => stack.current.seen(pod, "token"))).toEqual([]);
  });

  test.each([[[]], [["registry:catalog:*"]], [["registry:statistics:*"]]])(
    "a password gets the same answer for an assigned name as for a free one, also with scopes %j",
    async (beside) => {
      const answers = ["globex/private", "hooli/private"].map(async (name) => {
        const answer = await ask(stack.current.edge, [...beside, `repository:${name}:pull`], demo);
        return [answer.status, await answer.text()];
      });
      const [assigned, free] = await Promise.all(answers);
      expect(assigned).toEqual(free);
      expect(assigned?.[0]).toBe(401);
    },
  );
});

describe("with `credentials: shared`", () => {
  const stack = useStack({ topology: withCells });

  test("every Pod may see a password, but only its cell's Pod sees a routable token", async () => {
    const scopes = ["repository:acme/private:pull", "repository:globex/private:pull"];
    const shown = () => podIds.map((pod) => stack.current.seen(pod, "token").map(({ authorization }) => authorization));
    expect((await tokenOf(await ask(stack.current.edge, scopes, demo))).split("~")).toHaveLength(2);
    expect(shown()).toEqual([["basic"], ["basic"]]);
    stack.current.clearSeen();
    await ask(stack.current.edge, scopes, basic("demo", routableToken("corp-glpat-", "c:2k\no:1")));
    expect(shown()).toEqual([["none"], ["basic"]]);
  });

  test("no credential is in a log line, no Pod sees another Pod's, and storage sees none", async () => {
    const { edge } = stack.current;
    const client = createClient(edge);
    const pat = routableToken("glpat-", "c:2k\no:1");
    const password = "pa55-word of nobody";
    await ask(edge, ["repository:globex/private:pull"], basic("demo", pat));
    await ask(edge, [], basic("demo", password));
    const form = new URLSearchParams({ grant_type: "password", username: "demo", password, refresh_token: pat });
    await fetch(`${edge}/jwt/auth`, { method: "POST", body: form });
    await fetch(`${edge}/jwt/auth?${form.toString()}`);
    const token = await client.token(["repository:acme/private:pull,push", "repository:globex/private:pull,push"]);
    for (const name of ["acme/private", "globex/private"]) {
      const answer = await client.get(`/v2/${name}/manifests/1`, token);
      const { layers } = (await answer.json()) as { layers: { digest: string }[] };
      const blob = await client.get(`/v2/${name}/blobs/${layers[0]?.digest}`, token, { redirect: "follow" });
      expect(blob.status).toBe(200);
      await client.get(`/v2/${name}/blobs/uploads/`, token, { method: "POST" });
    }
    await stack.current.edgeSettled();
    const sentTo = podIds.map(
      (pod) =>
        new Set(stack.current.seen(pod, "registry").flatMap(({ authorizationSha256 }) => authorizationSha256 ?? [])),
    );
    expect(sentTo.map(({ size }) => size)).toEqual([1, 1]);
    expect(sentTo[0]).not.toEqual(sentTo[1]);
    for (const pod of podIds) {
      const stored = stack.current.seen(pod, "storage");
      expect(stored.map(({ authorization }) => authorization)).toEqual(["none"]);
    }
    expect(stack.current.edgeSeen().length).toBeGreaterThanOrEqual(11);
    const lines = stack.current.edgeLines();
    expect(lines.length).toBeGreaterThanOrEqual(stack.current.edgeSeen().length);
    const jwts = token.replace("pods.v1.", "").split("~");
    for (const secret of [pat, "pa55", btoa("demo:demo"), ...jwts.map((part) => part.replace(/^pod-[ab]\//, ""))]) {
      expect(lines.filter((line) => line.includes(secret))).toEqual([]);
    }
  });
});
