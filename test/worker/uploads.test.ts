import { expect, test } from "vitest";
import { privateImage } from "../../src/local/images.ts";
import { createClient, pushBlob, sha256 } from "../support/client.ts";
import { forgetDepth, readStackKv, useStack } from "../support/toy-stack.ts";

const stack = useStack();
const bytes = new Uint8Array(Buffer.from("a layer"));

async function startUpload(repository: string, query = "") {
  const client = createClient(stack.current.edge);
  const token = await client.token([`repository:${repository}:pull,push`, `repository:${repository}:delete`]);
  const started = await client.get(`/v2/${repository}/blobs/uploads/${query}`, token, { method: "POST" });
  return { client, token, status: started.status, location: started.headers.get("Location") ?? "" };
}

test("an upload in chunks of unknown length gets locations on the edge, and the Pod's range and id", async () => {
  const { client, token, location } = await startUpload("acme/chunks");
  expect(location).toMatch(/^\/v2\/acme\/chunks\/blobs\/uploads\/[^?]+\?.*_state=.*_pod=/);
  const body = new ReadableStream({
    start: (controller) => {
      controller.enqueue(bytes.slice(0, 3));
      controller.enqueue(bytes.slice(3));
      controller.close();
    },
  });
  const patched = await client.get(location, token, { method: "PATCH", body, duplex: "half" });
  expect([patched.status, patched.headers.get("Range")]).toEqual([202, `0-${bytes.byteLength - 1}`]);
  expect(patched.headers.get("Docker-Upload-UUID")).not.toBeNull();
  const digest = await sha256(bytes);
  const done = await client.get(`${patched.headers.get("Location")}&digest=${digest}`, token, { method: "PUT" });
  expect([done.status, done.headers.get("Location")]).toEqual([201, `/v2/acme/chunks/blobs/${digest}`]);
  const paths = stack.current.seen("pod-a", "registry").map(({ path }) => path);
  expect(paths.filter((path) => path.includes("_pod"))).toEqual([]);
});

test("HEAD of an upload gets the 204 of GET, with a location on the edge", async () => {
  const { client, token, location } = await startUpload("acme/status");
  await client.get(location, token, { method: "PATCH", body: bytes });
  stack.current.clearSeen();
  for (const method of ["GET", "HEAD"]) {
    const { status, headers } = await client.get(location, token, { method });
    expect([status, headers.get("Range")]).toEqual([204, `0-${bytes.byteLength - 1}`]);
    expect(headers.get("Location")).toMatch(/^\/v2\/acme\/status\/blobs\/uploads\/[^?]+\?.*_state=.*_pod=/);
  }
  expect(stack.current.seen("pod-a", "registry").map(({ method, status }) => [method, status])).toEqual([
    ["GET", 204],
    ["HEAD", 204],
  ]);
});

test("an upload stays with its Pod when the assignment changes", async () => {
  const route = (pod: string) => JSON.stringify({ v: 1, pod, revision: 2, state: "active" });
  await stack.current.putKv("route/moved", route("pod-a"));
  const { client, token, location } = await startUpload("moved/app");
  await stack.current.putKv("directory", '{"v":1,"revision":2,"pods":["pod-a","pod-b"],"credentials":"shared"}');
  await stack.current.putKv("route/moved/app", route("pod-b"));
  const digest = await sha256(bytes);
  const done = await client.get(`${location}&digest=${digest}`, token, { method: "PUT", body: bytes });
  expect(done.status).toBe(201);
  expect(stack.current.seen("pod-b", "registry").filter(({ path }) => path.includes("moved"))).toEqual([]);
});

test("an upload whose Pod was removed gets 404 as an unknown upload with any token, so that clients begin it again", async () => {
  const route = (pod: string) => JSON.stringify({ v: 1, pod, revision: 3, state: "active" });
  await stack.current.putKv("pod/pod-c", (await readStackKv(stack.current, ["pod/pod-a"])).get("pod/pod-a") ?? "");
  await stack.current.putKv("route/left", route("pod-c"));
  await stack.current.restartEdge();
  const { client, token, location } = await startUpload("left/app");
  await stack.current.deleteKv("pod/pod-c");
  await stack.current.putKv("route/left", route("pod-b"));
  await stack.current.restartEdge();
  stack.current.clearSeen();
  for (const each of [token, await client.token(["repository:left/app:pull,push"])]) {
    const answer = await client.get(location, each, { method: "PATCH", body: bytes });
    expect([answer.status, await answer.json()]).toMatchObject([404, { errors: [{ code: "BLOB_UPLOAD_UNKNOWN" }] }]);
  }
  expect((await startUpload("left/app")).status).toBe(202);
  expect(stack.current.seen("pod-a", "registry")).toEqual([]);
});

test("a pin that is forged, or of another repository or upload, gets 404 as an unknown upload", async () => {
  const one = await startUpload("acme/one");
  const other = await startUpload("acme/other");
  const pin = (location: string) => /_pod=([^&]*)/.exec(location)?.[1] ?? "";
  const forged = `${pin(one.location).slice(0, -2)}AA`;
  for (const text of [forged, pin(other.location), "", "x"]) {
    const location = one.location.replace(pin(one.location), text);
    const answer = await one.client.get(location, one.token, { method: "PATCH", body: bytes });
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ errors: [{ code: "BLOB_UPLOAD_UNKNOWN" }] });
  }
  const twice = await one.client.get(`${one.location}&_pod=${pin(one.location)}`, one.token, {
    method: "PATCH",
    body: bytes,
  });
  expect(twice.status).toBe(404);
});

test("an upload works after its client sorts and encodes the query anew", async () => {
  const { client, token, location } = await startUpload("acme/sorted");
  const url = new URL(location, stack.current.edge);
  url.searchParams.set("digest", await sha256(bytes));
  url.searchParams.sort();
  const done = await client.get(url.pathname + url.search, token, { method: "PUT", body: bytes });
  expect(done.status).toBe(201);
});

test("a mount within a Pod gets 201, and one across Pods or from a malformed name gets 202, never a 4xx", async () => {
  const digest = await pushBlob(stack.current, "acme/source", "a layer to mount");
  const foreign = await pushBlob(stack.current, "globex/source", "another layer to mount");
  const client = createClient(stack.current.edge);
  const scopes = ["repository:acme/target:pull,push", "repository:acme/source:pull"];
  const token = await client.token(scopes);
  const mount = (query: string) => client.get(`/v2/acme/target/blobs/uploads/?${query}`, token, { method: "POST" });
  const same = await mount(`mount=${digest}&from=acme/source`);
  expect([same.status, same.headers.get("Location")]).toEqual([201, `/v2/acme/target/blobs/${digest}`]);
  stack.current.clearSeen();
  for (const from of ["globex/source", "Not//AName"]) {
    expect((await mount(`mount=${foreign}&from=${from}&origin=x`)).status).toBe(202);
  }
  expect(stack.current.seen("pod-a", "registry").map(({ path }) => path)).toEqual(
    Array(2).fill("/v2/acme/target/blobs/uploads/"),
  );
  expect(stack.current.seen("pod-b", "registry")).toEqual([]);
});

test("a mount without a source begins an upload, because a registry might look for the blob where a block forbids it", async () => {
  const digest = await pushBlob(stack.current, "acme/source", "a layer that a registry might find");
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/found:pull,push"]);
  stack.current.clearSeen();
  for (const query of [`mount=${digest}`, `mount=${digest}&from=`, `from=acme/source&mount=${digest}&from=`]) {
    const answer = await client.get(`/v2/acme/found/blobs/uploads/?${query}`, token, { method: "POST" });
    expect(answer.status).toBe(query.startsWith("from") ? 400 : 202);
  }
  expect(stack.current.seen("pod-a", "registry").map(({ path }) => path)).toEqual(
    Array(2).fill("/v2/acme/found/blobs/uploads/"),
  );
});

test("a mount from a repository that the token may not pull gets the Pod's challenge, and Jib gets 202", async () => {
  const digest = await pushBlob(stack.current, "acme/source", "a layer to mount without a right");
  const client = createClient(stack.current.edge);
  const own = "repository:acme/without:pull,push";
  const query = `mount=${digest}&from=acme/source&origin=x`;
  const mount = async (...scopes: readonly string[]) => {
    const token = await client.token([own, ...scopes]);
    return (userAgent: string) =>
      client.get(`/v2/acme/without/blobs/uploads/?${query}`, token, {
        method: "POST",
        headers: { "User-Agent": userAgent },
      });
  };
  stack.current.clearSeen();
  for (const scopes of [
    [],
    ["repository:acme/other:pull"],
    ["repository:acme/source:push"],
    ["repository:globex/hello:pull"],
  ]) {
    const ask = await mount(...scopes);
    const answer = await ask("jib 3.4.6 jib-maven-plugin");
    expect([answer.status, answer.headers.get("Location")]).toEqual([202, expect.stringContaining("/acme/without/")]);
    const challenged = await ask("containerd/2.1.0");
    expect([challenged.status, challenged.headers.get("WWW-Authenticate")]).toEqual([
      401,
      expect.stringContaining("repository:acme/source:pull"),
    ]);
  }
  const asked = stack.current
    .seen("pod-a", "registry")
    .map(({ path }) => path.replace(/\?.*/, (text) => (text ? "?mount" : "")));
  const uploads = "/v2/acme/without/blobs/uploads/";
  expect(asked).toEqual(
    Array(4)
      .fill([uploads, `${uploads}?mount`])
      .flat(),
  );
  expect((await (await mount("repository:acme/source:pull"))("jib 3.4.6 jib-maven-plugin")).status).toBe(201);
});

test("mounts from made-up names cost no more look-ups than a user may cause, and then begin uploads", async () => {
  await forgetDepth(stack.current);
  const { edge } = stack.current;
  const client = createClient(edge);
  const token = await client.token(["repository:acme/flood:pull,push", "repository:acme/source:pull"]);
  const digest = await pushBlob(stack.current, "acme/source", "a layer to mount in a flood");
  const mount = async (from: string) => {
    const path = `/v2/acme/flood/blobs/uploads/?mount=${digest}&from=${from}`;
    return (await client.get(path, token, { method: "POST" })).status;
  };
  // Each made-up name has 19 prefixes that the edge has not looked up yet: all but `acme`.
  let made = 0;
  const madeUp = () => `acme/x${made++}/${Array(18).fill("a").join("/")}`;
  const spend = (names: number) =>
    Promise.all(
      Array.from({ length: 12 }, async () => {
        const scopes = Array.from({ length: names }, () => `&scope=repository:${madeUp()}:pull`).join("");
        const headers = { Authorization: `Basic ${btoa("demo:demo")}` };
        await (await fetch(`${edge}/jwt/auth?service=registry-edge${scopes}`, { headers })).arrayBuffer();
      }),
    );
  expect(await mount(madeUp())).toBe(401);
  // The edge may look up only so many new names in ten seconds. If a request needs more look-ups than are left, none of them is made. So we send
  // smaller and smaller requests, until no look-up is left.
  const afterFlood = async () => {
    for (const names of [50, 10, 3]) await spend(names);
    for (let count = 0; count < 3; count += 1) await mount(madeUp());
    return mount(madeUp());
  };
  await expect.poll(afterFlood, { timeout: 20_000 }).toBe(202);
  expect(await mount("acme/source")).toBe(201);
});

test("a mount from a blocked prefix gets 202 and does not open the blob under another name", async () => {
  const { layer } = privateImage("acme");
  await stack.current.putKv("blocks", JSON.stringify({ v: 1, revision: 2, blocks: { "acme/private": "removed" } }));
  // A running edge may see a new block only after some seconds. A new edge sees the block at once.
  await stack.current.restartEdge();
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/taken:pull,push", "repository:acme/private:pull"]);
  const query = `mount=${layer.digest}&from=acme/private`;
  const mounted = await client.get(`/v2/acme/taken/blobs/uploads/?${query}`, token, { method: "POST" });
  expect(mounted.status).toBe(202);
  expect((await client.get(`/v2/acme/taken/blobs/${layer.digest}`, token)).status).toBe(404);
});
