import { describe, expect, test } from "vitest";
import { createClient, layersOf } from "../support/client.ts";
import { answerBlob, asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack, withoutDefault, withStores } from "../support/toy-stack.ts";

describe("Pod that redirects by itself", () => {
  const stack = useStack({ topology: withStores("[{ scheme: pod }]", "[]") });

  async function blob(repository: string, method: "GET" | "HEAD") {
    const [layer] = await layersOf(stack.current, repository);
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${repository}:pull`]);
    stack.current.clearSeen();
    const answer = await client.get(`/v2/${repository}/blobs/${layer?.digest ?? ""}`, token, { method });
    await stack.current.edgeSettled();
    return { layer, answer };
  }

  test("its own redirect of a GET is passed on and leads to its storage", async () => {
    const { layer, answer } = await blob("acme/private", "GET");
    expect([answer.status, answer.headers.get("Docker-Content-Digest")]).toEqual([307, layer?.digest]);
    const target = new URL(answer.headers.get("Location") ?? "");
    expect(target.origin).toBe(stack.current.pods["pod-a"].storage.direct);
    expect((await (await fetch(target)).arrayBuffer()).byteLength).toBe(layer?.size);
    expect(stack.current.seen("pod-a", "registry").map(({ method }) => method)).toEqual(["GET"]);
    expect(stack.current.edgeSeen()).toMatchObject([{ outcome: "redirected", responseBytes: 0 }]);
  });

  test("its own redirect of a HEAD is passed on", async () => {
    const { layer, answer } = await blob("acme/private", "HEAD");
    const head = await fetch(answer.headers.get("Location") ?? "", { method: "HEAD" });
    expect([answer.status, head.headers.get("Content-Length")]).toEqual([307, String(layer?.size)]);
  });

  test("a redirect to a host of its record is passed on even if it has no store", async () => {
    const { answer } = await blob("globex/private", "GET");
    expect(answer.status).toBe(307);
  });
});

describe("Pod that redirects to the host of its own store, which `blobs.hosts` does not list", () => {
  const stack = useStack({
    topology: (text) =>
      text
        .replaceAll(/ {6}hosts:\n(?: {8}- .*\n)+/g, "")
        .replaceAll("proof: manifest", "proof: head")
        .replaceAll(/\$\{(POD_._STORAGE)\}/g, "http://$${$1_DIRECT_HOST}"),
  });

  test.each(["GET", "HEAD"])("its redirect proves the blob, and a %s gets a signed URL", async (method) => {
    const [layer] = await layersOf(stack.current, "acme/private");
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull"]);
    stack.current.clearSeen();
    const answer = await client.get(`/v2/acme/private/blobs/${layer?.digest ?? ""}`, token, { method });
    expect(stack.current.seen("pod-a", "registry").map((seen) => seen.method)).toEqual(["HEAD"]);
    const blob = await fetch(answer.headers.get("Location") ?? "", { method });
    expect([answer.status, blob.status, blob.headers.get("Content-Length")]).toEqual([307, 200, String(layer?.size)]);
  });

  test("with `delivery: stream`, the edge follows the redirect", async () => {
    const stream = { v: 1, pod: "pod-b", revision: 2, state: "active", delivery: "stream" };
    await stack.current.putKv("route/globex", JSON.stringify(stream));
    const [layer] = await layersOf(stack.current, "globex/private");
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:globex/private:pull"]);
    const answer = await client.get(`/v2/globex/private/blobs/${layer?.digest ?? ""}`, token);
    expect([answer.status, (await answer.arrayBuffer()).byteLength]).toEqual([200, layer?.size]);
  });
});

describe("Pod with a store for some clients", () => {
  const nearIn = (prefix: string) =>
    `{ scheme: public, baseUrl: 'http://near.localhost', prefix: ${prefix}, attribution: true, when: { cidrs: [192.0.2.0/24] } }`;
  const stack = useStack({ topology: withStores(`[${nearIn("root")}, { scheme: pod }]`, `[${nearIn("root-b")}]`) });

  test.each([
    ["acme/private", "192.0.2.7", "near.localhost"],
    ["acme/private", "198.51.100.7", "localhost"],
    ["globex/private", "2001:db8::7", "localhost"],
  ])("a client of %s at %s is sent to %s", async (repository, ip, hostname) => {
    const [layer] = await layersOf(stack.current, repository);
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${repository}:pull`]);
    const headers = { "CF-Connecting-IP": ip };
    const answer = await client.get(`/v2/${repository}/blobs/${layer?.digest ?? ""}`, token, { headers });
    const target = new URL(answer.headers.get("Location") ?? "");
    expect([answer.status, target.hostname]).toEqual([307, hostname]);
    const hex = layer?.digest.slice("sha256:".length) ?? "";
    const path = `/root/docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`;
    // The store `near.localhost` has `attribution: true`, so its URLs name the repository.
    if (hostname === "near.localhost") {
      expect([target.pathname, target.search]).toEqual([path, "?repository=acme%2Fprivate"]);
    }
  });
});

describe("Pod that serves blobs itself", async () => {
  const pod = await startOddPod();
  const stack = useStack({ topology: (text) => withStores("[]", "[]")(asPodB(pod)(text)), seedImages: false });

  test("its blobs are streamed through the edge, and the log says so", async () => {
    pod.answer((response) => void response.writeHead(200, { "Content-Length": 9 }).end("the bytes"));
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:globex/app:pull"]);
    const answer = await client.get(`/v2/globex/app/blobs/sha256:${"d".repeat(64)}`, token);
    expect([answer.status, answer.headers.get("Content-Length"), await answer.text()]).toEqual([200, "9", "the bytes"]);
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({ outcome: "streamed", responseBytes: 9 });
    expect(pod.seen.map(({ method }) => method)).toEqual(["GET"]);
  });
});

describe("with `AUTH=none`", async () => {
  const pod = await startOddPod();
  const stack = useStack({
    topology: (text) => withoutDefault(asPodB(pod)(text)),
    seedImages: false,
    env: { AUTH: "none" },
  });

  test("no token is asked for, and no client's credentials reach a Pod", async () => {
    pod.answer((response) => void response.writeHead(200).end("{}"));
    const client = createClient(stack.current.edge);
    const headers = { Authorization: "Bearer of.another.place" };
    expect((await client.get("/v2/", null)).status).toBe(200);
    expect((await client.get("/v2/globex/app/manifests/1", null, { headers })).status).toBe(200);
    expect(pod.seen.map(({ headers: received }) => received.authorization)).toEqual([undefined]);
  });

  test("a blob GET gets a signed redirect after a proof", async () => {
    pod.answer((response, { path }) => answerBlob(response, path));
    const client = createClient(stack.current.edge);
    const answer = await client.get(`/v2/globex/app/blobs/sha256:${"d".repeat(64)}`, null);
    expect([answer.status, answer.headers.get("Location")]).toEqual([307, expect.stringContaining("X-Amz-Signature=")]);
    const unassigned = await client.get("/v2/hooli/app/manifests/1", null);
    expect([unassigned.status, await unassigned.text()]).toEqual([404, expect.stringContaining("NAME_UNKNOWN")]);
  });
});
