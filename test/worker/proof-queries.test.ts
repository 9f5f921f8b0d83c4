import { expect, test } from "vitest";
import { type ClientInit, createClient, sha256 } from "../support/client.ts";
import { manifestText, manifestType } from "../support/image.ts";
import { answerBlob, asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack } from "../support/toy-stack.ts";

/** This Pod is a mirror: it serves the blobs of another registry, which `?ns=` names. Without this query, it has no blob. */
const pod = await startOddPod();
const stack = useStack({ topology: asPodB(pod), seedImages: false });
const blob = (char: string) => `sha256:${char.repeat(64)}`;

async function ask(path: string, init: ClientInit = {}) {
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:globex/app:pull,push"]);
  const answer = await client.get(`/v2/globex/app/${path}`, token, init);
  return { status: answer.status, location: answer.headers.get("Location"), text: await answer.text() };
}

const seen = () => pod.seen.map(({ method, path }) => `${method} ${path.replace("/v2/globex/app/", "")}`);

const serveByQuery = (byQuery: number, headers: Readonly<Record<string, string>> = {}) =>
  pod.answer((response, { path }) => {
    if (path.includes("?")) response.writeHead(byQuery, headers).end("by query");
    else response.writeHead(404).end();
  });

test("the HEAD of a proof has no query, so the Pod itself answers for a blob that is only there with a query", async () => {
  serveByQuery(200);
  const digest = blob("1");
  expect(await ask(`blobs/${digest}?ns=docker.io`)).toEqual({ status: 200, location: null, text: "by query" });
  expect((await ask(`blobs/${digest}`)).status).toBe(404);
  expect(seen()).toEqual([
    `HEAD blobs/${digest}`,
    `GET blobs/${digest}?ns=docker.io`,
    `HEAD blobs/${digest}`,
    `GET blobs/${digest}`,
  ]);
  expect(stack.current.seen("pod-b", "storage")).toEqual([]);
});

test("a client's own HEAD with a query proves nothing for the plain URL", async () => {
  serveByQuery(200);
  const digest = blob("2");
  expect((await ask(`blobs/${digest}?ns=docker.io`, { method: "HEAD" })).status).toBe(200);
  expect((await ask(`blobs/${digest}`)).status).toBe(404);
});

test("a Pod's redirect of a HEAD with a query is passed on, and the edge signs no URL by it", async () => {
  const digest = blob("3");
  const own = `${stack.current.pods["pod-b"].storage.url}/${"3".repeat(64)}?by=pod`;
  serveByQuery(307, { Location: own });
  expect(await ask(`blobs/${digest}?ns=docker.io`, { method: "HEAD" })).toMatchObject({ status: 307, location: own });
  expect((await ask(`blobs/${digest}`)).status).toBe(404);
  expect(seen()).toEqual([
    `HEAD blobs/${digest}?ns=docker.io`,
    `HEAD blobs/${digest}`,
    `HEAD blobs/${digest}`,
    `GET blobs/${digest}`,
  ]);
});

test("a redirect of a HEAD with a query is signed by the edge if the blob is there without the query", async () => {
  const digest = blob("7");
  const own = `${stack.current.pods["pod-b"].storage.url}/${"7".repeat(64)}?by=pod`;
  pod.answer((response, { path }) => {
    if (path.includes("?")) response.writeHead(307, { Location: own }).end();
    else answerBlob(response, path);
  });
  const { status, location } = await ask(`blobs/${digest}?ns=docker.io`, { method: "HEAD" });
  expect([status, location]).toEqual([307, expect.stringMatching(/\/data\?X-Amz-Algorithm=/)]);
});

test("a HEAD with a query that finds no blob takes no proof away", async () => {
  const digest = blob("4");
  pod.answer((response, { path }) => {
    if (path.includes("?")) response.writeHead(404).end();
    else answerBlob(response, path);
  });
  expect((await ask(`blobs/${digest}`)).status).toBe(307);
  expect((await ask(`blobs/${digest}?ns=docker.io`, { method: "HEAD" })).status).toBe(404);
  pod.answer((response) => void response.writeHead(404).end());
  expect((await ask(`blobs/${digest}`)).status).toBe(307);
});

test("a manifest that is pulled or pushed with a query proves no blob", async () => {
  const blobs = [blob("5"), blob("6")];
  const text = manifestText(blobs);
  const headers = {
    "Content-Type": manifestType,
    "Docker-Content-Digest": await sha256(new Uint8Array(Buffer.from(text))),
  };
  pod.answer((response, { method, path }) => {
    if (path.includes("/blobs/")) response.writeHead(404).end();
    else response.writeHead(method === "PUT" ? 201 : 200, headers).end(method === "PUT" ? "" : text);
  });
  const put = { method: "PUT", body: text, headers: { "Content-Type": manifestType } };
  expect((await ask("manifests/1?ns=docker.io")).text).toBe(text);
  expect((await ask("manifests/1?ns=docker.io", put)).status).toBe(201);
  expect(await Promise.all(blobs.map(async (digest) => (await ask(`blobs/${digest}`)).status))).toEqual([404, 404]);
  expect((await ask("manifests/1")).text).toBe(text);
  expect(await Promise.all(blobs.map(async (digest) => (await ask(`blobs/${digest}`)).status))).toEqual([307, 307]);
});
