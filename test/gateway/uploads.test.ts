import { describe, expect, test } from "vitest";
import { sealGrant } from "../../src/pods/upload-grant.ts";
import { beginUpload, edgeOrigin, startTestGateway, type TestGateway } from "../support/gateway.ts";
import { sha256 } from "../support/toy-pod.ts";

const layer = "a layer of the gateway";
const digest = sha256(layer);

const blobStatus = async ({ pod }: TestGateway, name: string) =>
  (await pod.ask("HEAD", `/v2/${name}/blobs/${digest}`, `repository:${name}:pull`)).status;

describe("gateway", () => {
  test("a PUT with the whole blob gets 201, and its Location is the blob on the edge", async () => {
    const gateway = await startTestGateway();
    const { location } = await beginUpload(gateway, "acme/put");
    const done = await fetch(`${location}&digest=${digest}`, { method: "PUT", body: layer });
    expect([done.status, done.headers.get("Location")]).toEqual([201, `${edgeOrigin}/v2/acme/put/blobs/${digest}`]);
    expect(done.headers.get("Docker-Content-Digest")).toBe(digest);
    expect(await blobStatus(gateway, "acme/put")).toBe(307);
    expect(gateway.lines).toMatchObject([
      { log: "gateway", method: "PUT", status: 201, outcome: "forwarded", pod: "pod-a", requestBytes: layer.length },
    ]);
  });

  test("a PATCH leads back to the edge with the upload's pin, where the registry's own state is in the location", async () => {
    const gateway = await startTestGateway();
    const { location, path, upload } = await beginUpload(gateway, "acme/patch");
    const patched = await fetch(location, { method: "PATCH", body: layer });
    expect([patched.status, patched.headers.get("Range")]).toEqual([202, `0-${layer.length - 1}`]);
    expect(patched.headers.get("Docker-Upload-UUID")).toBe(upload);
    const next = new URL(patched.headers.get("Location") ?? "");
    expect([next.origin, next.pathname, next.searchParams.get("_pod")]).toEqual([edgeOrigin, path, "the-pin"]);
    expect([...next.searchParams.keys()]).toEqual(["_state", "_pod", "_pod_bytes"]);
    // A client sends this closing PUT to the edge, which forwards it to the Pod. Here we send it to the Pod directly.
    const closing = `${path}?_state=${encodeURIComponent(next.searchParams.get("_state") ?? "")}&digest=${digest}`;
    expect((await gateway.pod.ask("PUT", closing, "repository:acme/patch:pull,push")).status).toBe(201);
    expect(await blobStatus(gateway, "acme/patch")).toBe(307);
  });

  test("a chunk's Content-Range reaches the registry, and its 416 the client, with a Location on the edge", async () => {
    const gateway = await startTestGateway();
    const { location } = await beginUpload(gateway, "acme/chunk");
    const wrong = await fetch(location, { method: "PATCH", body: layer, headers: { "Content-Range": "5-26" } });
    expect([wrong.status, wrong.headers.get("Location")]).toEqual([416, expect.stringContaining(`${edgeOrigin}/v2/`)]);
    expect(await wrong.json()).toMatchObject({ errors: [{ code: "RANGE_INVALID" }] });
    const right = await fetch(location, { method: "PATCH", body: layer, headers: { "Content-Range": "0-21" } });
    expect(right.status).toBe(202);
  });

  test("GET and HEAD tell how much has arrived, and DELETE ends the upload", async () => {
    const gateway = await startTestGateway();
    const { location } = await beginUpload(gateway, "acme/status");
    for (const method of ["GET", "HEAD"]) {
      const answer = await fetch(location, { method });
      expect([answer.status, answer.headers.get("Range")]).toEqual([204, "0-0"]);
      // A hostile registry's answer must not run as a page on a host of the fleet's domain.
      expect(answer.headers.get("Content-Security-Policy")).toContain("sandbox");
      expect(answer.headers.get("X-Content-Type-Options")).toBe("nosniff");
    }
    expect((await fetch(location, { method: "DELETE" })).status).toBe(204);
    const after = await fetch(location, { method: "GET" });
    expect([after.status, await after.json()]).toMatchObject([404, { errors: [{ code: "BLOB_UPLOAD_UNKNOWN" }] }]);
    expect(gateway.tap.seen().map(({ method }) => method)).toEqual(["GET", "HEAD", "DELETE", "GET"]);
  });

  test("a query that is decoded, sorted and encoded anew, with digest and ns added, works as it was", async () => {
    const gateway = await startTestGateway();
    const { location } = await beginUpload(gateway, "acme/sorted");
    const url = new URL(location);
    url.searchParams.set("ns", "docker.io");
    url.searchParams.set("digest", digest);
    url.searchParams.sort();
    expect((await fetch(url, { method: "PUT", body: layer })).status).toBe(201);
    expect(gateway.tap.seen().map(({ path }) => path.includes("ns="))).toEqual([false]);
  });

  test("the registry gets the grant's token, and never the client's own Authorization", async () => {
    const gateway = await startTestGateway();
    const { location, grant } = await beginUpload(gateway, "acme/token");
    const headers = { Authorization: "Bearer pods.v1.pod-b/secret", Cookie: "a=b", "X-Forwarded-Host": "evil.example" };
    expect((await fetch(location, { method: "PATCH", body: layer, headers })).status).toBe(202);
    const expected = Buffer.from(
      await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`Bearer ${grant.token}`)),
    ).toString("hex");
    expect(gateway.tap.seen()).toMatchObject([{ authorization: "bearer", authorizationSha256: expected }]);
    expect(JSON.stringify(gateway.lines)).not.toMatch(/_grant|Bearer|_state|eyJ/);
  });

  test("a token that is not good at the registry any more gets its 401, without the Pod's own token service", async () => {
    const gateway = await startTestGateway();
    const { grant, path } = await beginUpload(gateway, "acme/late");
    const sealed = await sealGrant(
      { ...grant, token: "no.such.token" },
      { keys: gateway.config.keys, now: new Date() },
    );
    const late = await fetch(`${gateway.url}${path}?_grant=${sealed}`, { method: "PATCH", body: layer });
    expect([late.status, late.headers.get("WWW-Authenticate")]).toEqual([401, null]);
    expect(await late.json()).toMatchObject({ errors: [{ code: "UNAUTHORIZED" }] });
  });

  test("the client is sent back to the edge that it called, if EDGE has several", async () => {
    const others = ["https://next.example.com", "http://localhost:8787"];
    const gateway = await startTestGateway({ env: { EDGE: [edgeOrigin, ...others].join() } });
    const { grant, path } = await beginUpload(gateway, "acme/several");
    for (const edge of others) {
      const sealed = await sealGrant({ ...grant, edge }, { keys: gateway.config.keys, now: new Date() });
      const asked = await fetch(`${gateway.url}${path}?_grant=${sealed}`);
      expect([asked.status, new URL(asked.headers.get("Location") ?? "").origin]).toEqual([204, edge]);
    }
  });

  test.each(["https://next.example.com", "http://registry.example.com", "https://registry.example.com:8443", ""])(
    "an upload that began at the edge %j, which EDGE lacks, is refused before the registry is asked",
    async (edge) => {
      const gateway = await startTestGateway();
      const { grant, path } = await beginUpload(gateway, "acme/unknown-edge");
      const sealed = await sealGrant({ ...grant, edge }, { keys: gateway.config.keys, now: new Date() });
      const query = `_grant=${sealed}&digest=${digest}`;
      const answer = await fetch(`${gateway.url}${path}?${query}`, { method: "PUT", body: layer });
      expect([answer.status, answer.headers.get("Location")]).toEqual([404, null]);
      const message = `this gateway does not know the edge at "${edge}"; the gateway's operator must add this origin to EDGE`;
      expect(await answer.json()).toEqual({ errors: [{ code: "UNSUPPORTED", message }] });
      expect(gateway.lines).toMatchObject([
        { outcome: "refused", cause: `EDGE does not have the grant's edge "${edge}"` },
      ]);
      expect(gateway.tap.seen()).toEqual([]);
      expect(await blobStatus(gateway, "acme/unknown-edge")).toBe(404);
    },
  );

  test("nothing but uploads is served", async () => {
    const gateway = await startTestGateway();
    for (const path of [
      "/",
      "/v2/",
      "/v2/_catalog",
      "/v2/acme/a/manifests/1",
      `/v2/acme/a/blobs/${digest}`,
      "/jwt/auth",
    ]) {
      const answer = await fetch(gateway.url + path);
      expect([path, answer.status]).toEqual([path, 404]);
      expect(await answer.json()).toMatchObject({ errors: [{ code: "UNSUPPORTED" }] });
    }
    expect((await fetch(`${gateway.url}/v2/acme/a/blobs/uploads/`, { method: "POST" })).status).toBe(404);
    expect((await fetch(`${gateway.url}/${"a".repeat(10_000)}`)).status).toBe(404);
    expect(JSON.stringify(gateway.lines.at(-1)).length).toBeLessThan(3_000);
    expect(gateway.tap.seen()).toEqual([]);
    expect(await (await fetch(`${gateway.url}/-/health`)).json()).toEqual({ status: "ok" });
  });
});
