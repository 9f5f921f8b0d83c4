import { expect, test } from "vitest";
import { createClient, layersOf, pushBlob } from "../support/client.ts";
import { manifestText, putManifest } from "../support/image.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack();

test("a blob GET gets one 307 to a signed URL, and storage sends the bytes without an Authorization", async () => {
  const [layer] = await layersOf(stack.current, "acme/private");
  if (layer === undefined) expect.fail("the seeded image has no layer");
  // A new edge has no proof, so it asks the Pod for this blob.
  await stack.current.restartEdge();
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/private:pull"]);
  await stack.current.edgeSettled();
  stack.current.clearSeen();
  const redirect = await client.get(`/v2/acme/private/blobs/${layer.digest}`, token);
  expect([
    redirect.status,
    redirect.headers.get("Docker-Content-Digest"),
    redirect.headers.get("Cache-Control"),
    redirect.headers.get("Docker-Distribution-Api-Version"),
  ]).toEqual([307, layer.digest, "no-store", "registry/2.0"]);
  const bytes = await (await fetch(redirect.headers.get("Location") ?? "")).arrayBuffer();
  expect(bytes.byteLength).toBe(layer.size);
  await stack.current.edgeSettled();
  expect(stack.current.edgeSeen()).toMatchObject([
    { status: 307, outcome: "redirected", responseBytes: 0, podRequests: 1, proof: "head" },
  ]);
  expect(stack.current.seen("pod-a", "registry")).toMatchObject([{ method: "HEAD", status: 307 }]);
  expect(stack.current.seen("pod-a", "storage")).toMatchObject([{ method: "GET", status: 200, authorization: "none" }]);
  expect(stack.current.seen("pod-b", "registry")).toEqual([]);
});

test("storage answers a request for a range of a blob", async () => {
  const [layer] = await layersOf(stack.current, "acme/hello", null);
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/hello:pull"], null);
  const redirect = await client.get(`/v2/acme/hello/blobs/${layer?.digest ?? ""}`, token, {
    headers: { Range: "bytes=0-9" },
  });
  expect(redirect.status).toBe(307);
  const part = await fetch(redirect.headers.get("Location") ?? "", { headers: { Range: "bytes=0-9" } });
  expect([part.status, (await part.arrayBuffer()).byteLength]).toEqual([206, 10]);
});

test("a HEAD of a blob or of a manifest says its true length", async () => {
  const [layer] = await layersOf(stack.current, "acme/private");
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/private:pull"]);
  const redirect = await client.get(`/v2/acme/private/blobs/${layer?.digest ?? ""}`, token, { method: "HEAD" });
  expect(redirect.status).toBe(307);
  const head = await fetch(redirect.headers.get("Location") ?? "", { method: "HEAD" });
  expect([head.status, head.headers.get("Content-Length")]).toEqual([200, String(layer?.size)]);
  const manifest = await client.get("/v2/acme/private/manifests/1", token, { method: "HEAD" });
  const whole = await client.get("/v2/acme/private/manifests/1", token);
  expect(manifest.headers.get("Content-Length")).toBe(String((await whole.arrayBuffer()).byteLength));
  expect(manifest.headers.get("Docker-Content-Digest")).toMatch(/^sha256:/);
});

test("a blob that only repository B has is 404 with repository A's token, and gets no signed URL", async () => {
  const digest = await pushBlob(stack.current, "acme/secret", "only in acme/secret");
  const client = createClient(stack.current.edge);
  const tokenA = await client.token(["repository:acme/other:pull,push"]);
  await pushBlob(stack.current, "acme/other", "so that the repository exists");
  for (const absent of [digest, `sha256:${"0".repeat(64)}`]) {
    const answer = await client.get(`/v2/acme/other/blobs/${absent}`, tokenA);
    expect([answer.status, answer.headers.get("Location")]).toEqual([404, null]);
    expect(await answer.json()).toMatchObject({ errors: [{ code: "BLOB_UNKNOWN" }] });
  }
  const tokenB = await client.token(["repository:acme/secret:pull"]);
  expect((await client.get(`/v2/acme/secret/blobs/${digest}`, tokenB)).status).toBe(307);
});

test("a sha512 blob is the Pod's own answer, even if its manifest has proved it", async () => {
  const bytes = new Uint8Array(Buffer.from("a layer whose digest is sha512"));
  const digest = `sha512:${Buffer.from(await crypto.subtle.digest("SHA-512", bytes)).toString("hex")}`;
  const config = await pushBlob(stack.current, "acme/sha512", "a config");
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/sha512:pull,push"]);
  const uploads = `/v2/acme/sha512/blobs/uploads/?digest=${digest}`;
  expect((await client.get(uploads, token, { method: "POST", body: bytes })).status).toBe(201);
  expect((await putManifest(stack.current, "acme/sha512", "1", manifestText([config, digest]))).status).toBe(201);
  for (const method of ["GET", "HEAD"]) {
    stack.current.clearSeen();
    const redirect = await client.get(`/v2/acme/sha512/blobs/${digest}`, token, { method });
    expect(redirect.status).toBe(307);
    const answer = await fetch(redirect.headers.get("Location") ?? "", { method });
    expect([answer.status, answer.headers.get("Content-Length")]).toEqual([200, String(bytes.byteLength)]);
    expect(stack.current.seen("pod-a", "registry")).toMatchObject([{ method, status: 307 }]);
    // A URL that the edge signs would lead through the proxy in front of the storage. Here, the Pod's own redirect has led past this proxy.
    expect(stack.current.seen("pod-a", "storage")).toEqual([]);
  }
});
