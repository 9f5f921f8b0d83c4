import * as v from "valibot";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { Digest } from "../../src/oci/digest.ts";
import { explainRequest } from "../../src/podctl/explain/explain-request.ts";
import { explainSigning } from "../../src/podctl/explain/explain-signing.ts";
import type { Question } from "../../src/podctl/explain/recording.ts";
import type { Step } from "../../src/podctl/explain/step.ts";
import { openDirectory } from "../../src/podctl/target/traced-directory.ts";
import { type SigningStore, storeSchema } from "../../src/signers/index.ts";
import { samples } from "../signers/samples.ts";
import { createClient, layersOf } from "../support/client.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";
import { timeIn } from "../support/use-moves.ts";

const stack = useStack();
const unknownPlace = { country: null, continent: null, asn: null, colo: null, ip: null };

const readKv = (keys: readonly string[]) => readStackKv(stack.current, keys);
const explain = (method: string, path: string, rest: Partial<Question> = {}) =>
  explainRequest(
    {
      ...({ auth: "token", token: null, service: "registry-edge", plainHttp: "loopback" } as const),
      ...{ method, url: new URL(path, stack.current.edge), client: unknownPlace, podStatus: 200, now: new Date() },
      ...rest,
    },
    () => openDirectory({ plainHttp: "loopback" }, { read: readKv }),
  );
const result = (steps: readonly Step[], name: string) => steps.find(({ step }) => step === name)?.result;
const lines = (steps: readonly Step[], name: string) => steps.find(({ step }) => step === name)?.lines ?? [];

let digest: string;
beforeAll(async () => {
  [{ digest } = { digest: "" }] = await layersOf(stack.current, "acme/private");
});

describe("explain:", () => {
  test("a blob is explained with its store, its signer and the Worker's own URL without its query", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull"]);
    const path = `/v2/acme/private/blobs/${digest}`;
    const target = new URL((await client.get(path, token)).headers.get("Location") ?? "");
    const steps = await explain("GET", path, { token });
    expect(steps.map(({ step }) => step)).toEqual([
      "endpoint",
      "repository",
      "look-ups",
      "Pod",
      "scopes",
      "token",
      "grant",
      "store",
      "proof",
      "signer",
      "signed",
      "answer",
    ]);
    expect(lines(steps, "signer")[0]).toBe(target.origin + target.pathname);
    expect(lines(steps, "signed")).toEqual(expect.arrayContaining(["GET", target.pathname, `host:${target.host}`]));
    expect(lines(steps, "signed").join()).toContain(`X-Amz-Date=${target.searchParams.get("X-Amz-Date")}`);
    const printed = JSON.stringify(steps);
    for (const part of token.split(/[/~]/).slice(1)) expect(printed).not.toContain(part);
    for (const name of ["X-Amz-Signature", "X-Amz-Credential"]) {
      expect(printed).not.toContain(target.searchParams.get(name)?.split("/")[0]);
    }
  });

  test.each([
    ["GET", "/v2/acme/app/tags/list", 'forwarded to Pod "pod-a"'],
    ["DELETE", "/v2/globex/app/manifests/1", 'forwarded to Pod "pod-b"'],
    ["GET", "/v2/Acme/app/tags/list", "refused with NAME_INVALID"],
    ["TRACE", "/v2/acme/app/tags/list", "refused with UNSUPPORTED"],
    ["GET", "/v2/", "401 with a challenge"],
    ["GET", "/v2/_catalog", "401 with a challenge"],
  ])("%s %s is answered as %s", async (method, path, answer) => {
    expect(result(await explain(method, path), "answer")).toContain(answer);
  });

  test("the look-ups show each prefix that was tried, and which prefix exists", async () => {
    const steps = await explain("GET", "/v2/globex/team/app/manifests/1");
    expect(lines(steps, "look-ups")).toEqual([
      "directory  default pod-a, depth 1",
      "blocks  –",
      "route/globex  → pod-b",
      "pod/pod-b  found",
    ]);
    await stack.current.putKv(
      "directory",
      '{"v":1,"revision":2,"pods":["pod-a","pod-b"],"default":"pod-a","credentials":"shared"}',
    );
    const deep = await explain("GET", "/v2/globex/team/app/manifests/1");
    expect(lines(deep, "look-ups").slice(1)).toEqual([
      "blocks  –",
      "route/globex/team/app  –",
      "route/globex/team  –",
      "route/globex  → pod-b",
      "pod/pod-b  found",
    ]);
    expect(result(steps, "scopes")).toBe("repository:globex/team/app:pull");
  });

  test("a group's settings are a step of their own, and the answer follows them", async () => {
    const settings = { state: "read-only", reason: "Until Monday.", delivery: "stream", uploads: "edge" };
    const clients = { deny: [{ countries: ["FR"] }], reason: "Not from France." };
    await stack.current.putKv("route/hooli", JSON.stringify({ v: 1, pod: "pod-b", revision: 2, ...settings, clients }));
    const group = "read-only; only for some clients; blobs come through the Pod; uploads stay on the edge";
    const blob = await explain("GET", `/v2/hooli/app/blobs/${digest}`);
    expect([result(blob, "group"), lines(blob, "look-ups")]).toEqual([
      group,
      expect.arrayContaining([`route/hooli  → pod-b, ${group}`]),
    ]);
    expect(result(blob, "answer")).toBe('forwarded to Pod "pod-b"');
    const written = await explain("PUT", "/v2/hooli/app/manifests/1");
    expect(result(written, "answer")).toBe("403 DENIED: Until Monday.");
    const french = { client: { ...unknownPlace, country: "FR" } };
    const token = "/jwt/auth?scope=repository:hooli/app:pull";
    for (const path of ["/v2/hooli/app/manifests/1", token]) {
      expect(result(await explain("GET", path, french), "answer")).toBe("403 DENIED: Not from France.");
    }
  });

  test.each([
    ["copy", "pod-a serves pulls and pushes", "pod-a", /^forwarded to Pod "pod-a"/],
    ["freeze", "pod-a serves pulls, and pushes are refused", "pod-a", /^403 DENIED: hooli is being moved/],
    [
      "settle",
      "pod-b serves pulls and pushes; digests that it lacks are looked for at pod-a",
      "pod-b",
      /^forwarded to Pod "pod-b"/,
    ],
  ])("the phase %s of a move is a step of its own: %s", async (phase, meaning, serving, written) => {
    const since = "2026-11-26T12:00:00.000Z";
    const move = { to: "pod-b", phase, since };
    const record = JSON.stringify({ v: 1, pod: "pod-a", revision: 2, state: "active", move });
    await stack.current.putKv("route/hooli", record);
    const read = await explain("GET", "/v2/hooli/app/tags/list");
    expect(result(read, "move")).toBe(`${phase}, from pod-a to pod-b, since ${since}: ${meaning}`);
    expect(result(read, "Pod")).toMatch(new RegExp(`^${serving} `));
    expect(lines(read, "look-ups")).toContain(`route/hooli  → pod-a, being moved to pod-b (${phase})`);
    expect(result(await explain("PUT", "/v2/hooli/app/manifests/1"), "answer")).toMatch(written);
  });

  test("the calls to both Pods of a move are shown, if the edge asks both", async () => {
    const move = { to: "pod-b", phase: "settle", since: "2026-11-26T12:00:00.000Z" };
    const record = JSON.stringify({ v: 1, pod: "pod-a", revision: 2, state: "active", move });
    await stack.current.putKv("route/hooli", record);
    const path = `/v2/hooli/app/manifests/${digest}`;
    const { "pod-a": from, "pod-b": to } = stack.current.pods;
    const calls = (method: string) => [to, from].map(({ registry }) => `${method} ${registry.url}${path}`);
    const [absent, deleted] = [await explain("GET", path, { podStatus: 404 }), await explain("DELETE", path)];
    expect([lines(absent, "answer"), lines(deleted, "answer")]).toEqual([calls("GET"), calls("DELETE")]);
    expect(result(deleted, "answer")).toBe('forwarded to Pod "pod-b"');
  });

  test("the freeze of a move back is told as what it is, and since when", async () => {
    const since = "2026-11-26T12:00:00.000Z";
    const move = { to: "pod-a", phase: "freeze", since, settledSince: "2026-11-26T11:00:00.000Z" };
    const record = JSON.stringify({ v: 1, pod: "pod-b", revision: 2, state: "active", move });
    await stack.current.putKv("route/back", record);
    expect(result(await explain("GET", "/v2/back/app/tags/list"), "move")).toBe(
      `freeze, from pod-b to pod-a, since ${since}: pod-b serves pulls, and pushes are refused; digests that it lacks are looked for at pod-a`,
    );
  });

  test.each([
    ["freeze", "pod-a serves pulls and pushes", "pod-a", /^forwarded to Pod "pod-a"/],
    [
      "settle",
      "pod-b serves pulls, and pushes are refused; tags and digests that it lacks are looked for at pod-a",
      "pod-b",
      /^403 DENIED: hooli is being moved/,
    ],
  ])(
    "the phase %s that is announced says when it begins, and that until then %s",
    async (phase, meaning, serving, written) => {
      const move = { to: "pod-b", phase, since: timeIn(3_600) };
      const record = JSON.stringify({ v: 1, pod: "pod-a", revision: 2, state: "active", move });
      await stack.current.putKv("route/hooli", record);
      const read = await explain("GET", "/v2/hooli/app/tags/list");
      const said = `${phase}, from pod-a to pod-b, begins at ${move.since}; until then ${meaning}`;
      expect([result(read, "move"), result(read, "Pod")]).toEqual([said, expect.stringMatching(`^${serving} `)]);
      expect(result(await explain("PUT", "/v2/hooli/app/manifests/1"), "answer")).toMatch(written);
    },
  );

  test("an old name shows its new one, by which the Pod gets the request and the token is read", async () => {
    const directory = {
      v: 1,
      revision: 2,
      pods: ["pod-a", "pod-b"],
      default: "pod-a",
      credentials: "shared",
      depth: 1,
    };
    await stack.current.putKv(
      "directory",
      JSON.stringify({ ...directory, aliases: { "hooli/old": "globex/private" } }),
    );
    const token = await createClient(stack.current.edge).token(["repository:globex/private:pull"]);
    const steps = await explain("GET", "/v2/hooli/old/tags/list", { token });
    expect([result(steps, "renamed"), result(steps, "grant")]).toEqual([
      "to globex/private, and so the Pod gets it",
      "covers the scopes",
    ]);
    expect(lines(steps, "answer")).toEqual([expect.stringContaining("/v2/globex/private/tags/list")]);
    const written = await explain("PUT", "/v2/hooli/old/manifests/1");
    expect(result(written, "answer")).toBe('403 DENIED: "hooli/old" is now "globex/private"; push to that name');
    await stack.current.putKv("directory", JSON.stringify(directory));
  });

  test("a mount from another Pod becomes an upload, and a mount from the same Pod stays", async () => {
    const mount = (from: string) => explain("POST", `/v2/acme/app/blobs/uploads/?mount=${digest}&from=${from}`);
    expect(lines(await mount("globex/app"), "answer")).toEqual([
      expect.stringMatching(/^POST http:\S+\/v2\/acme\/app\/blobs\/uploads\/$/),
      "the mount's source is not this Pod's: an upload begins (202)",
    ]);
    expect(lines(await mount("acme/other"), "answer")).toEqual([expect.stringContaining("&from=acme%2Fother")]);
  });

  test("a mount from another Pod is told with its calls if there is a gateway, and else with the reason", async () => {
    const key = "pod/pod-a";
    const record = (await readKv([key])).get(key) ?? "";
    const gateway = { url: "http://127.0.0.1:1", key: "sealed" };
    await stack.current.putKv(key, JSON.stringify({ ...(JSON.parse(record) as object), gateway }));
    const path = `/v2/acme/app/blobs/uploads/?mount=${digest}&from=globex/app`;
    try {
      const mounted = await explain("POST", path);
      expect(result(mounted, "answer")).toMatch(/^201: the gateway of Pod "pod-a" copies the blob/);
      expect(lines(mounted, "answer")).toEqual([
        expect.stringMatching(/^HEAD http:\S+\/v2\/globex\/app\/blobs\/sha256:/),
        "POST http://127.0.0.1:1/v2/acme/app/blobs/uploads/",
      ]);
      expect(lines(await explain("POST", path, { podStatus: 404 }), "answer")).toEqual([
        expect.stringMatching(/^POST http:\S+\/v2\/acme\/app\/blobs\/uploads\/$/),
        "not mounted from another Pod, so an upload begins (202): the source does not have the blob",
      ]);
    } finally {
      await stack.current.putKv(key, record);
    }
  });

  test("a token request goes to each Pod of its scopes", async () => {
    const scopes = "scope=repository:acme/app:pull,push&scope=repository:globex/app:pull";
    const steps = await explain("GET", `/jwt/auth?service=registry-edge&${scopes}`);
    expect(lines(steps, "answer")).toEqual([
      expect.stringMatching(/^pod-a at http:\S+, with the client's credentials: repository:acme\/app:pull,push$/),
      expect.stringMatching(/^pod-b at http:\S+, with the client's credentials: repository:globex\/app:pull$/),
    ]);
  });

  test("a token request for another service, and plain HTTP, are refused as the Worker refuses them", async () => {
    const otherService = "/jwt/auth?service=dependency_proxy&scope=repository:acme/app:pull";
    const answer = await fetch(stack.current.edge + otherService);
    const { errors } = (await answer.json()) as { errors: readonly { readonly message: string }[] };
    const said = `400 UNSUPPORTED: ${errors[0]?.message}`;
    expect([answer.status, result(await explain("GET", otherService), "answer")]).toEqual([400, said]);
    const plain = await explain("GET", "http://registry.example.com/v2/acme/app/manifests/1", { plainHttp: "nowhere" });
    expect(result(plain, "answer")).toMatch(/^403 DENIED: .*https only/);
  });

  test("a token that lacks the scope, has no Pod, or is not a token gets the Worker's 401", async () => {
    const token = await createClient(stack.current.edge).token(["repository:acme/private:pull"]);
    const answerTo = async (given: string, path = "/v2/acme/private/tags/list", method = "GET") =>
      result(await explain(method, path, { token: given }), "answer");
    expect(await answerTo(token, "/v2/acme/private/manifests/1", "PUT")).toBe('401 with error="insufficient_scope"');
    expect(await answerTo(token, "/v2/globex/private/tags/list")).toBe('401 with error="insufficient_scope"');
    expect(await answerTo("eyJhbGciOiJub25lIn0.e30.AA")).toBe('401 with error="invalid_token"');
    expect(await answerTo("nonsense")).toContain("neither a bundle nor a JWT");
    expect(await answerTo(token, "/v2/")).toContain("200");
    expect(result(await explain("GET", "/v2/", { token, now: new Date(Date.now() + 3_600_000) }), "answer")).toContain(
      "no part",
    );
  });

  test("a fleet without tokens ignores the token", async () => {
    const asked = (path: string, token: string | null = null) => explain("GET", path, { auth: "none", token });
    const steps = await asked("/v2/globex/app/tags/list", "nonsense");
    expect([result(steps, "token"), result(steps, "answer")]).toEqual([
      "this fleet asks for none",
      'forwarded to Pod "pod-b"',
    ]);
    expect(result(await asked("/v2/"), "answer")).toBe("200");
  });

  test("the catalog is merged from all Pods, and is an error if a Pod gives none", async () => {
    const steps = await explain("GET", "/v2/_catalog", { auth: "none" });
    expect([result(steps, "answer"), lines(steps, "answer")]).toEqual([
      "one list, merged from those of all Pods",
      ["pod-a", "pod-b"].map((id) => `GET ${stack.current.pods[id as "pod-a"].registry.url}/v2/_catalog?n=100`),
    ]);
    const without = await explain("GET", "/v2/_catalog", { auth: "none", podStatus: 404 });
    expect(result(without, "answer")).toBe("503 UNAVAILABLE: 2 of 2 registries gave no catalog; try again");
  });

  test("the answer that a Pod is assumed to give decides what follows", async () => {
    const path = `/v2/acme/private/blobs/${digest}`;
    const absent = await explain("GET", path, { podStatus: 404 });
    expect([result(absent, "assumed"), result(absent, "answer")]).toEqual([
      "every Pod answers with 404 (--pod-status)",
      'forwarded to Pod "pod-a"',
    ]);
    expect(result(await explain("GET", path, { podStatus: 205 }), "answer")).toBe('forwarded to Pod "pod-a"');
    const unjudged = "pods.v1.pod-a/eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.c2ln";
    const refused = await explain("GET", "/v2/acme/private/tags/list", { podStatus: 401, token: unjudged });
    expect(result(refused, "answer")).toBe('401 with error="invalid_token"');
  });

  test("blocks, read-only Pods and names whose Pod has no record are refused as the Worker refuses them", async () => {
    await stack.current.putKv("blocks", '{"v":1,"revision":2,"blocks":{"acme/leaked":"was leaked"}}');
    expect(result(await explain("GET", "/v2/acme/leaked/app/tags/list"), "answer")).toBe(
      "403 DENIED by a block: was leaked",
    );
    const record = (await readKv(["pod/pod-b"])).get("pod/pod-b") ?? "";
    await stack.current.putKv("pod/pod-c", record.replace('"state":"active"', '"state":"read-only","reason":"moving"'));
    await stack.current.putKv("route/initech", '{"v":1,"pod":"pod-c","revision":1,"state":"active"}');
    expect(result(await explain("PUT", "/v2/initech/app/manifests/1"), "answer")).toBe("403 DENIED: moving");
    expect(result(await explain("GET", "/v2/initech/app/manifests/1"), "answer")).toContain("pod-c");
    const unjudged = { token: "pods.v1.pod-c/eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.c2ln" };
    expect(result(await explain("PUT", "/v2/initech/app/manifests/1", unjudged), "answer")).toContain("invalid_token");
    await stack.current.putKv("route/hooli", '{"v":1,"pod":"pod-d","revision":1,"state":"active"}');
    expect(result(await explain("GET", "/v2/hooli/app/manifests/1"), "answer")).toContain(
      'Pod "pod-d", which has no record',
    );
  });
});

async function changeStores(change: (stores: readonly object[]) => readonly object[]): Promise<void> {
  const text = (await readKv(["pod/pod-a"])).get("pod/pod-a") ?? "";
  onTestFinished(() => stack.current.putKv("pod/pod-a", text));
  const { blobs, ...rest } = JSON.parse(text) as { readonly blobs: { readonly stores: readonly object[] } };
  const changed = { ...blobs, stores: change(blobs.stores) };
  await stack.current.putKv("pod/pod-a", JSON.stringify({ ...rest, blobs: changed }));
}

describe("explain, the stores of a Pod:", () => {
  const blobPath = () => `/v2/acme/private/blobs/${digest}`;
  const world = { scheme: "public", baseUrl: "http://world.localhost" };

  test("a store that is out is told, also if the next one is the Pod's own redirect", async () => {
    const out = {
      pod: "pod-a",
      place: "world.localhost",
      since: "2026-11-28T00:00:00Z",
      state: "out",
      why: "answered 503",
    };
    await stack.current.putKv("health", JSON.stringify({ v: 1, stores: [out] }));
    const told = "blobs.stores.0 is out since 2026-11-28T00:00:00Z: answered 503";
    await changeStores(() => [world, { scheme: "pod" }]);
    const forwarded = await explain("GET", blobPath());
    expect([result(forwarded, "passed over"), result(forwarded, "answer")]).toEqual([told, 'forwarded to Pod "pod-a"']);
    await changeStores(() => [world, { ...world, baseUrl: "http://other.localhost" }]);
    const redirected = await explain("GET", blobPath());
    expect([result(redirected, "passed over"), result(redirected, "store")]).toEqual([
      told,
      "blobs.stores.1, the first that fits a client of unknown place and is not out",
    ]);
  });

  test("a store with `attribution` is shown with the parameters that the edge adds and signs", async () => {
    await changeStores((stores) => stores.map((store) => ({ ...store, attribution: true })));
    await stack.current.restartEdge();
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull"]);
    const real = new URL((await client.get(blobPath(), token)).headers.get("Location") ?? "");
    const steps = await explain("GET", blobPath(), { token });
    expect(real.searchParams.get("x-repository")).toBe("acme/private");
    expect(lines(steps, "signer")[1]).toBe(`with ${[...real.searchParams.keys()].join(", ")}`);
    expect(lines(steps, "signed").join()).toContain("x-repository=acme%2Fprivate");
  });
});

describe("explain shows what is signed, with stand-ins for secrets:", () => {
  const blob = `sha256:${"0123456789abcdef".repeat(4)}` as Digest;
  const stores = Object.entries(samples).flatMap(([scheme, forms]) =>
    forms.map(({ config }, index) => [scheme, index, { scheme, credentials: "sealed", ...config }] as const),
  );

  test.each(stores)("%s, form %d", async (scheme, _index, config) => {
    const { credentials: _, ...open } = config;
    const store = v.parse(storeSchema, scheme === "public" ? open : config) as SigningStore;
    const { url, canonical } = await explainSigning(blob, { store, now: new Date("2026-03-01T12:00:00Z") });
    expect(url).toContain(blob.slice(-64));
    // For these stores, `explain` shows no signed text: `public` signs nothing, and the text that nginx hashes with MD5 contains the secret.
    const hidden =
      scheme === "public" || (scheme === "nginx" && !("algorithm" in config && config.algorithm !== "md5"));
    if (hidden) expect(canonical).toBeNull();
    // Some schemes sign a prefix of the URL in base64, so we look for the digest in the decoded prefix, too.
    else
      expect(
        `${canonical} ${Buffer.from(/URLPrefix=([\w=-]+)/.exec(canonical ?? "")?.[1] ?? "", "base64url").toString()}`,
      ).toContain(blob.slice(-64));
  });
});

test.each(["/", "/v2", "/-/health", "/-/probe"])("explain says that the edge itself answers %s", async (path) => {
  const { status } = await fetch(new URL(path, stack.current.edge), { redirect: "manual" });
  expect(status).toBe({ "/v2": 301, "/-/probe": 401 }[path] ?? 200);
  expect(result(await explain("GET", path), "answer")).toMatch(path === "/v2" ? /^301 / : /^the edge itself/);
});
