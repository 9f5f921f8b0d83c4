import type { IncomingMessage, ServerResponse } from "node:http";
import { expect, test } from "vitest";
import type { Pod } from "../../src/directory/directory.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { Digest } from "../../src/oci/digest.ts";
import { type Prefix, parseRepositoryName, type RepositoryName } from "../../src/oci/repository-name.ts";
import { copyBlob } from "../../src/podctl/move/copy-blob.ts";
import { listRepositories, listTags } from "../../src/podctl/move/lists.ts";
import { namedPod } from "../../src/podctl/move/open-group.ts";
import { openRegistry, type Registry } from "../../src/podctl/move/registry.ts";
import { serveForTest } from "../support/toy-pod.ts";

type Page = { readonly body: unknown; readonly next?: string; readonly headers?: Readonly<Record<string, string>> };

async function registryOf(pages: Readonly<Record<string, Page>>): Promise<Registry> {
  const answer = ({ url = "" }: IncomingMessage, response: ServerResponse) => {
    const page = pages[url];
    if (page === undefined) return void response.writeHead(404).end();
    const link = page.next === undefined ? {} : { Link: `<${page.next}>; rel="next"` };
    response
      .writeHead(200, { "Content-Type": "application/json", ...link, ...page.headers })
      .end(JSON.stringify(page.body));
  };
  const port = await serveForTest(answer);
  const pod = { id: "pod-a", registry: `http://127.0.0.1:${port}` } as unknown as Pod;
  return openRegistry(pod, { user: null, jobs: 2, auth: "none" });
}

const group = { prefix: "acme" as Prefix, without: ["acme/secret" as Prefix] };

test("a group's repositories come from all pages of the catalog, without those of others", async () => {
  const registry = await registryOf({
    "/v2/_catalog?n=1000": {
      body: { repositories: ["acme/app", "acmecorp/app", "acme/secret/app"] },
      next: "/v2/_catalog?last=x&n=1000",
    },
    "/v2/_catalog?last=x&n=1000": { body: { repositories: ["acme/zebra", "acme/app", "acme/Odd", 3] } },
  });
  expect(await listRepositories(registry, group)).toEqual(["acme/app", "acme/zebra"]);
});

test.each([
  "rel=next",
  'title="one, two"; rel="next"',
  'Rel = "next"',
  'rel="prev", </v2/_catalog?last=x>; rel="next"',
])("a list goes on at the next page also if its Link is written as %s", async (parameters) => {
  const first = parameters.includes("prev") ? "/v2/_catalog?n=1" : "/v2/_catalog?last=x";
  const link = { Link: `<${first}>; ${parameters}` };
  const registry = await registryOf({
    "/v2/_catalog?n=1000": { body: { repositories: ["acme/app"] }, headers: link },
    "/v2/_catalog?last=x": { body: { repositories: ["acme/zebra"] } },
  });
  expect(await listRepositories(registry, group)).toEqual(["acme/app", "acme/zebra"]);
});

test("a page that a registry puts on another host is not asked for, so that the host gets no token", async () => {
  const registry = await registryOf({});
  expect(await registry.open({ path: "//127.0.0.2:1/v2/_catalog", scopes: [] })).toEqual({
    ok: false,
    error: 'it names a place on "127.0.0.2:1"',
  });
});

test("a blob is fetched only from the Pod's blob hosts", async () => {
  const port = await serveForTest((_, response) => void response.writeHead(200).end("secret"));
  const answer = (_: IncomingMessage, response: ServerResponse) =>
    void response.writeHead(307, { Location: `http://127.0.0.1:${port}/blob` }).end();
  const hosts: string[] = [];
  const pod = {
    id: "pod-a",
    registry: `http://127.0.0.1:${await serveForTest(answer)}`,
    blobs: { hosts, stores: [] },
  } as unknown as Pod;
  const registry = openRegistry(pod, { user: null, jobs: 2, auth: "none" });
  const blob = { path: `/v2/acme/app/blobs/sha256:${"a".repeat(64)}`, scopes: [] };
  expect(await registry.open(blob)).toMatchObject({ ok: false, error: expect.stringContaining("blobs.hosts") });
  hosts.push(`127.0.0.1:${port}`);
  expect(await registry.open(blob)).toMatchObject({ ok: true, value: { status: 200 } });
  registry.close();
});

test("requests for one repository that begin at once share one token", async () => {
  let asked = 0;
  const exp = Math.floor(Date.now() / 1_000) + 300;
  const token = `e30.${Buffer.from(JSON.stringify({ exp })).toString("base64url")}.`;
  const answer = ({ url = "" }: IncomingMessage, response: ServerResponse) => {
    if (url.startsWith("/token")) asked += 1;
    response.writeHead(200).end(url.startsWith("/token") ? JSON.stringify({ token }) : "");
  };
  const origin = `http://127.0.0.1:${await serveForTest(answer)}`;
  const pod = { id: "pod-a", registry: origin, token: `${origin}/token`, audience: "registry" } as unknown as Pod;
  const registry = openRegistry(pod, { user: null, jobs: 8, auth: "token" });
  const scopes = [{ type: "repository", name: "acme/app", actions: ["pull"] }];
  const heads = Array.from({ length: 8 }, () => registry.ask({ path: "/v2/acme/app/blobs/x", scopes }));
  expect((await Promise.all(heads)).map(({ status }) => status)).toEqual(Array(8).fill(200));
  expect(asked).toBe(1);
  registry.close();
});

test("a move sends the registry the token from access_token if the token service's answer has an empty token beside it", async () => {
  const answer = ({ url = "", headers }: IncomingMessage, response: ServerResponse) => {
    const isGood = url.startsWith("/token") || headers.authorization === "Bearer e30.e30.c2ln";
    response.writeHead(isGood ? 200 : 401).end(JSON.stringify({ token: "", access_token: "e30.e30.c2ln" }));
  };
  const origin = `http://127.0.0.1:${await serveForTest(answer)}`;
  const pod = { id: "pod-a", registry: origin, token: `${origin}/token`, audience: "registry" } as unknown as Pod;
  const registry = openRegistry(pod, { user: null, jobs: 1, auth: "token" });
  const scopes = [{ type: "repository", name: "acme/app", actions: ["pull"] }];
  expect(await registry.ask({ path: "/v2/acme/app/tags/list", scopes })).toMatchObject({ status: 200 });
  registry.close();
});

test("the login for all Pods goes to the Pod that the operator named, also when a group goes back from there", () => {
  const [from, to] = ["pod-a" as PodId, "pod-b" as PodId];
  expect(namedPod({ way: "there", from, to })).toBe("pod-b");
  expect(namedPod({ way: "back", from: to, to: from })).toBe("pod-b");
});

test("GitLab's registry lists only the group's repositories, page by page", async () => {
  const path = "/gitlab/v1/repository-paths/acme/repositories/list/?n=1000";
  const registry = await registryOf({
    "/gitlab/v1/": { body: {}, headers: { "Gitlab-Container-Registry-Version": "4.20.0" } },
    [path]: {
      body: [{ name: "app", path: "acme/app" }],
      next: "/gitlab/v1/repository-paths/acme/repositories/list/?last=acme/app&n=1000",
    },
    "/gitlab/v1/repository-paths/acme/repositories/list/?last=acme/app&n=1000": {
      body: [{ name: "b", path: "acme/team/b" }, {}],
    },
  });
  expect(await listRepositories(registry, group)).toEqual(["acme/app", "acme/team/b"]);
});

test("if GitLab's registry does not answer with a list, the catalog lists the group", async () => {
  const registry = await registryOf({
    "/gitlab/v1/": { body: {}, headers: { "Gitlab-Container-Registry-Version": "4.20.0" } },
    "/gitlab/v1/repository-paths/acme/repositories/list/?n=1000": { body: { error: "odd" } },
    "/v2/_catalog?n=1000": { body: { repositories: ["acme/app"] } },
  });
  expect(await listRepositories(registry, group)).toEqual(["acme/app"]);
});

test("if GitLab's registry does not list the group, the catalog does", async () => {
  const registry = await registryOf({
    "/gitlab/v1/": { body: {}, headers: { "Gitlab-Container-Registry-Version": "4.20.0" } },
    "/v2/_catalog?n=1000": { body: { repositories: ["acme/app"] } },
  });
  expect(await listRepositories(registry, group)).toEqual(["acme/app"]);
});

test("a registry whose pages lead in a circle is read once", async () => {
  const name = parseRepositoryName("acme/app");
  if (!name.ok) throw new Error(name.error);
  const registry = await registryOf({
    "/v2/acme/app/tags/list?n=1000": { body: { tags: ["1"] }, next: "/v2/acme/app/tags/list?last=1" },
    "/v2/acme/app/tags/list?last=1": { body: { tags: ["2", "not a tag"] }, next: "/v2/acme/app/tags/list?n=1000" },
  });
  expect(await listTags(registry, name.value)).toEqual(["1", "2"]);
});

test("a Link and a Location that are relative to the URL of the request are followed, as the edge does", async () => {
  const listing = await registryOf({
    "/v2/_catalog?n=1000": { body: { repositories: ["acme/app"] }, next: "?last=x" },
    "/v2/_catalog?last=x": { body: { repositories: ["acme/b"] } },
  });
  expect(await listRepositories(listing, group)).toEqual(["acme/app", "acme/b"]);
  const asked: string[] = [];
  const port = await serveForTest((request, response) => {
    const { method, url } = request;
    asked.push(`${method} ${url}`);
    const status = { HEAD: 404, GET: 200, POST: 202, PUT: 201 }[method ?? ""] ?? 500;
    const answer = () => response.writeHead(status, { Location: "7b6c?_state=x" }).end(method === "GET" ? "abc" : "");
    request.resume().once("end", answer);
  });
  const pod = { id: "pod-a", registry: `http://127.0.0.1:${port}`, blobs: { hosts: [], stores: [] } };
  const registry = openRegistry(pod as unknown as Pod, { user: null, jobs: 2, auth: "none" });
  const [name, digest] = ["acme/app" as RepositoryName, `sha256:${"a".repeat(64)}` as Digest];
  const ways = { source: registry, target: registry, gateway: null };
  const blob = { digest, bytes: 3, elsewhere: false };
  expect(await copyBlob(ways, name, { blob, home: null, namedBy: digest })).toBe("copied");
  expect(asked.at(-1)).toBe(`PUT /v2/acme/app/blobs/uploads/7b6c?_state=x&digest=${digest}`);
  registry.close();
});
