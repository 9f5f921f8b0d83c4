import { describe, expect, test } from "vitest";
import { type ClientInit, createClient, layersOf, sha256 } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const inOffice = { "CF-Connecting-IP": "192.0.2.7" };
const outside = { "CF-Connecting-IP": "198.51.100.7" };

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
