import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { type ClientInit, createClient, layersOf, sha256 } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack, withStores } from "../support/toy-stack.ts";

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
    const told = ["authorization", "cookie", "cf-connecting-ip", "x-forwarded-for", "accept"];
    expect(told.filter((name) => sent?.headers[name] !== undefined)).toEqual([]);
    expect(sent?.headers["user-agent"]).toBe("registry-edge");
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

  test("the storage's answer with several ranges keeps its type, because the type names the boundary between them", async () => {
    const [type, parts] = ["multipart/byteranges; boundary=B", "\r\n--B\r\n…\r\n--B--\r\n"];
    registry.answer(redirecting);
    storage.answer((response) => void response.writeHead(206, { "Content-Type": type }).end(parts));
    const { status, headers, text } = await ask({ headers: { Range: "bytes=0-2,10-12" } });
    expect([status, headers.get("Content-Type"), text]).toEqual([206, type, parts]);
    expect(storage.seen[0]?.headers.range).toBe("bytes=0-2,10-12");
    for (const [own, other] of [
      [200, type],
      [206, "text/html"],
    ] as const) {
      storage.answer((response) => void response.writeHead(own, { "Content-Type": other }).end(layer));
      expect((await ask()).headers.get("Content-Type")).toBe("application/octet-stream");
    }
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
  const stack = useStack({
    topology: (text) => text.replace("  acme: pod-a\n", "  acme: { pod: pod-a, delivery: stream }\n"),
  });

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
