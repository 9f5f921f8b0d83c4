import { describe, expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack();

describe("name that is not canonical", () => {
  test.each([
    "/v2/acme//app/manifests/1",
    "/v2/acme%2Fapp/manifests/1",
    "/v2/Acme/app/manifests/1",
    "/v2//manifests/1",
    `/v2/acme/${"a".repeat(255)}/manifests/1`,
    "/v2/acme/app/manifests/.bad",
  ])("%s is refused before any look-up or call, with a token or without", async (path) => {
    const { edge } = stack.current;
    const client = createClient(edge);
    const token = await client.token(["repository:acme/app:pull"]);
    await stack.current.edgeSettled();
    stack.current.clearSeen();
    for (const sent of [null, token]) {
      const answer = await client.get(path, sent);
      expect([400, 404]).toContain(answer.status);
      expect(await answer.json()).toMatchObject({
        errors: [{ code: expect.stringMatching(/^(NAME_INVALID|MANIFEST_UNKNOWN)$/) }],
      });
    }
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().map(({ kvReads, podRequests }) => kvReads + podRequests)).toEqual([0, 0]);
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
  });
});

test("a path with too many slashes gets 301 to the path without them, with a token or without, and nothing is asked", async () => {
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/hello:pull", "registry:catalog:*"]);
  await stack.current.edgeSettled();
  stack.current.clearSeen();
  const paths = ["/v2/_catalog/?n=1", "/v2/acme/hello/tags/list/", "/v2/acme/hello/manifests/1/", "//v2/"];
  for (const path of paths) {
    for (const sent of [null, token]) {
      const answer = await client.get(path, sent);
      expect([answer.status, answer.headers.get("Cache-Control")]).toEqual([301, "no-store"]);
      expect(answer.headers.get("Location")).toBe(path.replace("//v2", "/v2").replace(/(?<!v2)\/(?=\?|$)/, ""));
    }
    expect((await client.get(path, token, { redirect: "follow" })).status).toBe(200);
  }
  await stack.current.edgeSettled();
  const moved = stack.current.edgeSeen().filter(({ status }) => status === 301);
  expect(moved.map(({ kvReads, podRequests }) => kvReads + podRequests)).toEqual(moved.map(() => 0));
});

test.each([
  ["a/manifests/b", "latest"],
  ["a/blobs/uploads", "1"],
  ["a/tags/list", "1"],
  [Array(20).fill("a").join("/"), "1"],
  ["a".repeat(255), "1"],
])("an image is pushed and pulled under the name %.60s", async (repository, tag) => {
  const client = createClient(stack.current.edge);
  const token = await client.token([`repository:${repository}:pull,push`]);
  const index = JSON.stringify({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [],
  });
  const headers = { "Content-Type": "application/vnd.oci.image.index.v1+json" };
  const put = await client.get(`/v2/${repository}/manifests/${tag}`, token, { method: "PUT", body: index, headers });
  expect(put.status).toBe(201);
  expect(put.headers.get("Location")).toMatch(new RegExp(`^/v2/${repository}/manifests/sha256:`));
  const got = await client.get(`/v2/${repository}/manifests/${tag}`, token, {
    headers: { Accept: headers["Content-Type"] },
  });
  expect(await got.text()).toBe(index);
  expect(got.headers.get("Cache-Control")).toContain("no-transform");
  const tags = await client.get(`/v2/${repository}/tags/list`, token);
  expect(await tags.json()).toMatchObject({ name: repository, tags: [tag] });
});

test("a path with dot segments is read as its resolved name by the token check, the Pod and the log", async () => {
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/private:pull"]);
  await stack.current.edgeSettled();
  stack.current.clearSeen();
  // `fetch` would resolve the dot segments itself, so the path is sent by a raw socket.
  const status = await rawStatus(stack.current.edge, "/v2/globex/../acme/./private/tags/list", token);
  expect(status).toBe(200);
  await stack.current.edgeSettled();
  expect(stack.current.edgeSeen()).toMatchObject([{ repository: "acme/private", pod: "pod-a" }]);
  expect(stack.current.seen("pod-a", "registry").map(({ path }) => path)).toEqual(["/v2/acme/private/tags/list"]);
  expect(stack.current.seen("pod-b", "registry")).toEqual([]);
});

async function rawStatus(origin: string, path: string, token: string): Promise<number> {
  const { request } = await import("node:http");
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${token}` };
    request({ hostname, port, path, headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on("error", reject)
      .end();
  });
}

test("acme is not a prefix of acmecorp", async () => {
  await stack.current.putKv("route/acmecorp", JSON.stringify({ v: 1, pod: "pod-b", revision: 1, state: "active" }));
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acmecorp/app:pull,push"]);
  expect(token).toMatch(/^pods\.v1\.pod-b\//);
});
