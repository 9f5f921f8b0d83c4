import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { type ClientInit, createClient, layersOf, sha256 } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack, withStores } from "../support/toy-stack.ts";

const inOffice = { "CF-Connecting-IP": "192.0.2.7" };
const outside = { "CF-Connecting-IP": "198.51.100.7" };

/** The example topology with another assignment of `acme`. */
const withAcme =
  (...lines: readonly string[]) =>
  (text: string) =>
    text.replace("  acme: pod-a\n", `${lines.map((line) => `  ${line}\n`).join("")}`);

const route = (settings: object) => JSON.stringify({ v: 1, pod: "pod-a", revision: 2, state: "active", ...settings });
const readOnly = { state: "read-only", reason: "We move house until Monday." };
const refusal = (message: string) => ({ status: 403, body: { errors: [{ code: "DENIED", message }] } });

async function seenOf(answer: Response) {
  return { status: answer.status, body: await answer.json() };
}

describe("read-only group", () => {
  const stack = useStack({
    topology: withAcme(
      'acme: { pod: pod-a, state: read-only, reason: "We move house until Monday." }',
      "acme/open: pod-a",
    ),
    gateways: "fleet",
  });
  const seenByPod = () => stack.current.seen("pod-a", "registry").map(({ method }) => method);

  test("its reads pass, and each write gets 403 DENIED with the operator's text and reaches neither Pod nor storage", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull,push,delete"]);
    const [layer] = await layersOf(stack.current, "acme/private");
    const digest = layer?.digest ?? "";
    expect((await client.get(`/v2/acme/private/blobs/${digest}`, token)).status).toBe(307);
    stack.current.clearSeen();
    const writes: [string, string][] = [
      ["POST", "/v2/acme/private/blobs/uploads/"],
      ["POST", `/v2/acme/private/blobs/uploads/?mount=${digest}&from=acme/open`],
      ["PUT", "/v2/acme/private/manifests/2"],
      ["DELETE", "/v2/acme/private/manifests/1"],
      ["DELETE", `/v2/acme/private/blobs/${digest}`],
    ];
    for (const [method, path] of writes) {
      const answer = await client.get(path, token, { method });
      expect(await seenOf(answer), `${method} ${path}`).toEqual(refusal("We move house until Monday."));
    }
    expect([...seenByPod(), ...stack.current.seen("pod-a", "storage")]).toEqual([]);
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({ outcome: "refused", cause: "read-only", pod: "pod-a" });
  });

  test("a longer prefix has its own settings, so its repositories take writes", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/open/app:pull,push"]);
    expect((await client.get("/v2/acme/open/app/blobs/uploads/", token, { method: "POST" })).status).toBe(202);
  });

  test.each([
    ["on the edge", "PATCH", "skopeo/1.9.3"],
    ["on the edge, by one PUT", "PUT", "oras/1.3.4"],
  ])("an upload that began before %s ends at its next write", async (_where, method, userAgent) => {
    await stack.current.putKv("route/acme", route({ uploads: "edge" }));
    await stack.current.restartEdge();
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/begun:pull,push"]);
    const headers = { "User-Agent": userAgent };
    const started = await client.get("/v2/acme/begun/blobs/uploads/", token, { method: "POST", headers });
    const location = started.headers.get("Location") ?? "";
    expect([started.status, location]).toEqual([202, expect.stringMatching(/^\/v2\/acme\/begun\/.*_pod=/)]);
    await stack.current.putKv("route/acme", route(readOnly));
    await stack.current.restartEdge();
    stack.current.clearSeen();
    const bytes = new Uint8Array(Buffer.from("late bytes"));
    const query = method === "PUT" ? `&digest=${await sha256(bytes)}` : "";
    const late = await client.get(location + query, token, { method, body: bytes, headers });
    expect(await seenOf(late)).toEqual(refusal("We move house until Monday."));
    expect([...seenByPod(), ...stack.current.seen("pod-a", "storage")]).toEqual([]);
    expect((await client.get(location, token)).status).toBe(204);
  });

  test("an upload whose bytes went to the gateway before is not completed: the closing PUT comes to the edge, and the blob is nowhere", async () => {
    await stack.current.putKv("route/acme", route({}));
    await stack.current.restartEdge();
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/gated:pull,push"]);
    const headers = { "User-Agent": "skopeo/1.9.3" };
    const started = await client.get("/v2/acme/gated/blobs/uploads/", token, { method: "POST", headers });
    const bytes = new Uint8Array(Buffer.from("bytes at the gateway"));
    const patched = await fetch(started.headers.get("Location") ?? "", { method: "PATCH", body: bytes, headers });
    expect(patched.status).toBe(202);
    await stack.current.putKv("route/acme", route(readOnly));
    await stack.current.restartEdge();
    stack.current.clearSeen();
    const { pathname, search } = new URL(patched.headers.get("Location") ?? "");
    const digest = await sha256(bytes);
    const closed = await client.get(`${pathname}${search}&digest=${digest}`, token, { method: "PUT" });
    expect(await seenOf(closed)).toEqual(refusal("We move house until Monday."));
    expect(seenByPod()).toEqual([]);
    expect((await client.get(`/v2/acme/gated/blobs/${digest}`, token, { method: "HEAD" })).status).toBe(404);
  });

  test("an upload that ends by one PUT at the gateway leaves a blob, and its manifest is refused", async () => {
    await stack.current.putKv("route/acme", route({}));
    await stack.current.restartEdge();
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/put:pull,push"]);
    const headers = { "User-Agent": "containerd/2.0.0" };
    const started = await client.get("/v2/acme/put/blobs/uploads/", token, { method: "POST", headers });
    await stack.current.putKv("route/acme", route(readOnly));
    await stack.current.restartEdge();
    const bytes = new Uint8Array(Buffer.from("one PUT"));
    const end = `${started.headers.get("Location") ?? ""}&digest=${await sha256(bytes)}`;
    expect((await fetch(end, { method: "PUT", body: bytes, headers })).status).toBe(201);
    const manifest = await client.get("/v2/acme/put/manifests/1", token, { method: "PUT", body: "{}" });
    expect(await seenOf(manifest)).toEqual(refusal("We move house until Monday."));
    expect((await client.get("/v2/acme/put/tags/list", token)).status).toBe(404);
  });
});

describe("group for clients in the office", () => {
  const stack = useStack({
    topology: withAcme(
      'acme: { pod: pod-a, clients: { allow: [{ cidrs: ["192.0.2.0/24"] }], reason: "Only from the office." } }',
      "acme/open: pod-a",
    ),
  });
  const askToken = (
    scopes: readonly string[],
    headers: Readonly<Record<string, string>>,
    user: string | null = "demo",
  ) => {
    const query = new URLSearchParams([["service", "registry-edge"], ...scopes.map((scope) => ["scope", scope])]);
    const basic: Record<string, string> = user === null ? {} : { Authorization: `Basic ${btoa(`${user}:${user}`)}` };
    return fetch(`${stack.current.edge}/jwt/auth?${query}`, { headers: { ...basic, ...headers } });
  };
  const tokenOf = async (answer: Response) => ((await answer.json()) as { token: string }).token;
  const seenByPods = () =>
    (["pod-a", "pod-b"] as const).flatMap((pod) =>
      (["registry", "token", "storage"] as const).flatMap((service) =>
        stack.current.seen(pod, service).map(({ path }) => `${pod} ${service} ${path}`),
      ),
    );

  test("a client outside gets 403 DENIED with the operator's text for tokens, manifests, blobs and pushes alike, and no Pod or storage is asked", async () => {
    const client = createClient(stack.current.edge);
    const token = await tokenOf(await askToken(["repository:acme/private:pull,push"], inOffice));
    const inside = async (path: string, init: ClientInit = {}) =>
      (await client.get(path, token, { ...init, headers: inOffice })).status;
    const manifest = await client.get("/v2/acme/private/manifests/1", token, { headers: inOffice });
    const digest = manifest.headers.get("Docker-Content-Digest") ?? "";
    const { layers } = (await manifest.json()) as { layers: { digest: string }[] };
    const blob = `/v2/acme/private/blobs/${layers[0]?.digest ?? ""}`;
    // After these two pulls, the edge has the manifest and the proof of the blob, so it could answer without the Pod.
    expect([await inside(`/v2/acme/private/manifests/${digest}`), await inside(blob)]).toEqual([200, 307]);
    stack.current.clearSeen();
    const requests: [string, string][] = [
      ["GET", "/v2/acme/private/manifests/1"],
      ["HEAD", "/v2/acme/private/manifests/1"],
      ["GET", `/v2/acme/private/manifests/${digest}`],
      ["GET", blob],
      ["GET", "/v2/acme/private/tags/list"],
      ["GET", `/v2/acme/private/referrers/${digest}`],
      ["POST", "/v2/acme/private/blobs/uploads/"],
      ["PUT", "/v2/acme/private/manifests/2"],
    ];
    for (const [method, path] of requests) {
      const answer = await client.get(path, token, { method, headers: outside });
      const text = method === "HEAD" ? null : await answer.text();
      expect([answer.status, answer.headers.get("Location")], `${method} ${path}`).toEqual([403, null]);
      if (text !== null) expect(JSON.parse(text)).toEqual(refusal("Only from the office.").body);
    }
    for (const user of ["demo", null]) {
      for (const actions of ["pull", "pull,push"]) {
        const refused = await askToken([`repository:acme/private:${actions}`], outside, user);
        expect(await seenOf(refused)).toEqual(refusal("Only from the office."));
      }
    }
    expect(seenByPods()).toEqual([]);
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen()).toMatchObject(Array(12).fill({ cause: "client-denied", pod: "pod-a" }));
  });

  test("a client cannot choose its place by a header of its own", async () => {
    for (const name of ["X-Forwarded-For", "X-Real-IP", "True-Client-IP", "Forwarded"]) {
      const refused = await askToken(["repository:acme/private:pull"], { ...outside, [name]: "192.0.2.7" });
      expect(refused.status).toBe(403);
    }
  });

  test("a token for several groups lacks the part that the client may not use, and a write to that part is the answer", async () => {
    const client = createClient(stack.current.edge);
    const scopes = [
      "repository:acme/private:pull",
      "repository:globex/private:pull",
      "repository:acme/open/x:pull,push",
    ];
    const answer = await askToken(scopes, outside);
    const token = await tokenOf(answer);
    expect(answer.status).toBe(200);
    const pulled = await client.get("/v2/globex/private/manifests/1", token, { headers: outside });
    const started = await client.get("/v2/acme/open/x/blobs/uploads/", token, { method: "POST", headers: outside });
    expect([pulled.status, started.status]).toEqual([200, 202]);
    expect(
      seenByPods()
        .filter((seen) => seen.includes("token"))
        .join(),
    ).not.toContain("acme%2Fprivate");
    const moved = await client.get("/v2/acme/private/manifests/1", token, { headers: inOffice });
    expect(moved.status).toBe(401);
    stack.current.clearSeen();
    const written = await askToken(["repository:globex/private:pull", "repository:acme/private:pull,push"], outside);
    expect(await seenOf(written)).toEqual(refusal("Only from the office."));
    expect(seenByPods()).toEqual([]);
  });

  test("a login names no group, so it works from everywhere", async () => {
    expect((await askToken([], outside)).status).toBe(200);
  });

  test("an upload that began in the office goes on only there", async () => {
    const client = createClient(stack.current.edge);
    const token = await tokenOf(await askToken(["repository:acme/begun:pull,push"], inOffice));
    const started = await client.get("/v2/acme/begun/blobs/uploads/", token, { method: "POST", headers: inOffice });
    const location = started.headers.get("Location") ?? "";
    stack.current.clearSeen();
    const bytes = new Uint8Array(Buffer.from("from where?"));
    const end = `${location}&digest=${await sha256(bytes)}`;
    const refused = await client.get(end, token, { method: "PUT", body: bytes, headers: outside });
    expect(await seenOf(refused)).toEqual(refusal("Only from the office."));
    expect(seenByPods()).toEqual([]);
    expect((await client.get(end, token, { method: "PUT", body: bytes, headers: inOffice })).status).toBe(201);
  });

  test("a mount makes none of its blobs readable under another name for a client outside", async () => {
    const client = createClient(stack.current.edge);
    const scopes = ["repository:acme/open/copy:pull,push", "repository:acme/private:pull"];
    const token = await tokenOf(await askToken(scopes, inOffice));
    const manifest = await client.get("/v2/acme/private/manifests/1", token, { headers: inOffice });
    const { layers } = (await manifest.json()) as { layers: { digest: string }[] };
    const mount = `/v2/acme/open/copy/blobs/uploads/?mount=${layers[0]?.digest ?? ""}&from=acme/private`;
    stack.current.clearSeen();
    expect((await client.get(mount, token, { method: "POST", headers: outside })).status).toBe(202);
    expect(seenByPods().join()).not.toContain("mount=");
    expect((await client.get(mount, token, { method: "POST", headers: inOffice })).status).toBe(201);
  });
});

describe("group whose blobs come through the Pod", async () => {
  const registry = await startOddPod();
  const storage = await startOddPod();
  const storageUrl = storage.url.replace("127.0.0.1", "localhost");
  const layer = Buffer.from("the bytes of a layer");
  const digest = await sha256(new Uint8Array(layer));
  const stack = useStack({
    seedImages: false,
    topology: (text) =>
      asPodB(registry)(withStores("[]", "[{ scheme: pod }]")(text))
        .replace(`        - \${POD_B_STORAGE_HOST}\n`, `        - ${new URL(storageUrl).host}\n`)
        .replace("  globex: pod-b\n", "  globex: { pod: pod-b, delivery: stream }\n  globex/other: pod-b\n"),
  });
  const redirecting = (response: ServerResponse) => {
    const location = `${storageUrl}/blobs/${digest.replace(":", "/")}/data?signature=secret`;
    response.writeHead(307, { Location: location, "Docker-Content-Digest": digest }).end();
  };
  const ranges = (response: ServerResponse, { method, headers }: { method: string; headers: IncomingHttpHeaders }) => {
    const part = headers.range === undefined ? layer : layer.subarray(4, 9);
    const own = { "x-amz-request-id": "1", ETag: '"e"', "Content-Length": part.byteLength };
    const range = headers.range === undefined ? {} : { "Content-Range": `bytes 4-8/${layer.byteLength}` };
    response.writeHead(headers.range === undefined ? 200 : 206, { ...own, ...range });
    response.end(method === "HEAD" ? undefined : part);
  };

  async function ask(init: ClientInit = {}, name = "globex/app") {
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${name}:pull`]);
    const answer = await client.get(`/v2/${name}/blobs/${digest}`, token, init);
    const text = await answer.text();
    await stack.current.edgeSettled();
    return { status: answer.status, headers: answer.headers, text };
  }

  test("a GET gets the bytes, although the Pod redirects to its storage, and the storage learns nothing of the client", async () => {
    registry.answer(redirecting);
    storage.answer(ranges);
    const { status, headers, text } = await ask({ headers: { "CF-Connecting-IP": "192.0.2.7", Cookie: "a=b" } });
    expect([status, text, headers.get("Location")]).toEqual([200, layer.toString(), null]);
    expect([headers.get("Docker-Content-Digest"), headers.get("Content-Length")]).toEqual([digest, "20"]);
    expect([headers.get("ETag"), headers.get("x-amz-request-id")]).toEqual(['"e"', null]);
    expect(registry.seen.map(({ method, headers: sent }) => [method, sent.authorization?.slice(0, 7)])).toEqual([
      ["GET", "Bearer "],
    ]);
    const [sent] = storage.seen;
    expect([storage.seen.length, sent?.path.endsWith("/data?signature=secret")]).toEqual([1, true]);
    const told = ["authorization", "cookie", "user-agent", "cf-connecting-ip", "x-forwarded-for", "accept"];
    expect(told.filter((name) => sent?.headers[name] !== undefined)).toEqual([]);
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({ outcome: "streamed", responseBytes: 20, pod: "pod-b" });
    expect(stack.current.edgeLines().join()).not.toContain("signature=secret");
  });

  test("a HEAD gets the length, and a range gets its part", async () => {
    registry.answer(redirecting);
    storage.answer(ranges);
    const head = await ask({ method: "HEAD" });
    expect([head.status, head.headers.get("Content-Length"), head.text]).toEqual([200, "20", ""]);
    const part = await ask({ headers: { Range: "bytes=4-8", "If-Range": '"e"' } });
    expect([part.status, part.text, part.headers.get("Content-Range")]).toEqual([206, "bytes", "bytes 4-8/20"]);
    expect(storage.seen.map(({ method, headers }) => [method, headers.range, headers["if-range"]])).toEqual([
      ["HEAD", undefined, undefined],
      ["GET", "bytes=4-8", '"e"'],
    ]);
  });

  test.each([
    ["a range that is not there", 416, 416],
    ["a refusal", 403, 502],
    ["another redirect", 302, 502],
    ["a failure", 500, 502],
    ["an encoded blob", 200, 502],
  ])("%s by the storage (%d) becomes %d, in a form that clients know", async (_name, own, status) => {
    registry.answer(redirecting);
    const sent = { Location: "http://192.0.2.1/", ...(own === 200 ? { "Content-Encoding": "gzip" } : {}) };
    storage.answer((response) => void response.writeHead(own, sent).end("<Error/>"));
    const answer = await ask();
    expect([answer.status, answer.headers.get("Location")]).toEqual([status, null]);
    if (status !== 502) return;
    expect(JSON.parse(answer.text)).toMatchObject({ errors: [{ code: "UNKNOWN" }] });
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({
      cause: `storage "${new URL(storageUrl).host}" ${own === 200 ? "encodes the blob" : `answered ${own}`}`,
    });
  });

  test("a Pod that serves the blob itself is streamed, and a Pod that lacks it says so, without a call to the storage", async () => {
    registry.answer((response) => void response.writeHead(200, { "Content-Length": 3 }).end("own"));
    expect(await ask()).toMatchObject({ status: 200, text: "own" });
    registry.answer((response) => void response.writeHead(404).end());
    expect((await ask()).status).toBe(404);
    expect(storage.seen).toEqual([]);
  });

  test("a Pod that redirects to a host which is not its storage's is refused, and that host is not called", async () => {
    registry.answer((response) => void response.writeHead(307, { Location: "http://192.0.2.1/secret" }).end());
    expect((await ask()).status).toBe(502);
    expect(storage.seen).toEqual([]);
  });

  test("another group of the Pod is redirected as ever", async () => {
    registry.answer(redirecting);
    expect((await ask({}, "globex/other/app")).headers.get("Location")).toContain("signature=secret");
    expect(storage.seen).toEqual([]);
  });
});

describe("group whose blobs come through a Pod with a store", () => {
  const stack = useStack({ topology: withAcme("acme: { pod: pod-a, delivery: stream }") });

  test("no URL is signed for it: the Pod gives the blob, also when its proof is remembered", async () => {
    const [layer] = await layersOf(stack.current, "acme/private");
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull"]);
    const blob = `/v2/acme/private/blobs/${layer?.digest ?? ""}`;
    stack.current.clearSeen();
    for (const _ of [1, 2]) {
      const answer = await client.get(blob, token);
      expect([answer.status, (await answer.arrayBuffer()).byteLength]).toEqual([200, layer?.size]);
    }
    expect(stack.current.seen("pod-a", "registry").map(({ method }) => method)).toEqual(["GET", "GET"]);
    await stack.current.setFault("pod-a", "registry", { mode: "refuse" });
    const failed = await client.get(blob, token);
    await stack.current.setFault("pod-a", "registry", { mode: "none" });
    expect([failed.status, failed.headers.get("Location")]).toEqual([503, null]);
  });
});

describe("group whose uploads stay on the edge", () => {
  const stack = useStack({
    topology: withAcme("acme: { pod: pod-a, uploads: edge }", "acme/large: pod-a"),
    gateways: "fleet",
  });

  test.each([
    ["acme/app", /^\/v2\/acme\/app\/blobs\/uploads\/.*_pod=/],
    ["acme/large/app", /^http:\/\/[^/]+\/v2\/acme\/large\/app\/blobs\/uploads\/[^?]+\?_grant=/],
  ])("a new upload of %s gets its location where the longest prefix says", async (name, location) => {
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${name}:pull,push`]);
    const headers = { "User-Agent": "skopeo/1.9.3" };
    const started = await client.get(`/v2/${name}/blobs/uploads/`, token, { method: "POST", headers });
    expect([started.status, started.headers.get("Location")]).toEqual([202, expect.stringMatching(location)]);
  });
});
