import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { createClient, sha256 } from "../support/client.ts";
import { manifestText, manifestType, pushImage } from "../support/image.ts";
import { answerBlob, asPodB, startOddPod } from "../support/odd-pod.ts";
import { pullerOf } from "../support/pull.ts";
import { endFault, useStack, withOutage } from "../support/toy-stack.ts";

const pod = await startOddPod();
const stack = useStack({ topology: asPodB(pod), seedImages: false });

const [one, two] = [manifestText([`sha256:${"a".repeat(64)}`]), manifestText([`sha256:${"b".repeat(64)}`])];
const digestOf = (text: string) => sha256(new Uint8Array(Buffer.from(text)));
const digestOfOne = await digestOf(one);

async function clientOf(repository: string) {
  const client = createClient(stack.current.edge);
  const pull = pullerOf(stack.current, repository, await client.token([`repository:${repository}:pull`]));
  const write = pullerOf(stack.current, repository, await client.token([`repository:${repository}:pull,push,delete`]));
  const headers = { "Content-Type": manifestType };
  return {
    pull,
    remove: async (path: string) => (await write(path, { method: "DELETE" })).status,
    push: async (path: string, body: string) => (await write(path, { method: "PUT", body, headers })).status,
    pullInOutage: async (path: string) => {
      await stack.current.edgeSettled();
      pod.answer((response) => void response.writeHead(503).end());
      const { status, text } = await pull(path);
      return [status, status === 200 ? text : null];
    },
  };
}

/** The registry carries out each request at once, but answers the first request that is `slow` only after `release`. */
function startRegistry(slow: { readonly method: string; readonly body: string }) {
  const [held, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let tagged: string | null = null;
  let isFirst = true;
  pod.answer(async (response, { method, body }) => {
    if (method === "PUT") tagged = body;
    if (method === "DELETE") tagged = null;
    const found = tagged;
    if (isFirst && method === slow.method && body === slow.body) {
      isFirst = false;
      held.resolve();
      await released.promise;
    }
    if (found === null) return void response.writeHead(method === "DELETE" ? 202 : 404).end();
    const headers = { "Content-Type": manifestType, "Docker-Content-Digest": await digestOf(found) };
    response.writeHead(method === "PUT" ? 201 : 200, headers).end(method === "GET" ? found : "");
  });
  return { held: held.promise, release: released.resolve };
}

test("while the registry fails, a tag has no Cache-Control of its digest, so that no cache keeps the old manifest under the tag", async () => {
  const { pull } = await clientOf("globex/cached");
  pod.answer((response, { method, path }) => {
    const headers = { "Content-Type": manifestType, "Docker-Content-Digest": digestOfOne };
    const control = path.includes("sha256:") ? "public, max-age=31536000, immutable" : "no-cache";
    response.writeHead(200, { ...headers, "Cache-Control": control }).end(method === "HEAD" ? "" : one);
  });
  // As docker and containerd do, we ask for the tag by HEAD, and for the manifest by its digest. So the edge keeps only the answer with `immutable`.
  await pull("manifests/1", { method: "HEAD" });
  await pull(`manifests/${digestOfOne}`);
  await stack.current.edgeSettled();
  pod.answer((response) => void response.writeHead(503).end());
  for (const path of ["manifests/1", `manifests/${digestOfOne}`]) {
    const { status, headers } = await pull(path, { method: "HEAD" });
    expect([status, headers["cache-control"]]).toEqual([200, "no-store, no-transform"]);
  }
});

test("while the registry fails, a tag gives the list that a client got last, although that client does not accept every type", async () => {
  const { pull, pullInOutage } = await clientOf("globex/lists");
  const list = "application/vnd.oci.image.index.v1+json";
  const has = (text: string, digest: string) =>
    pod.answer((response) => {
      response.writeHead(200, { "Content-Type": list, "Docker-Content-Digest": digest }).end(text);
    });
  has(one, digestOfOne);
  await pull("manifests/1");
  has(two, await digestOf(two));
  const headers = { Accept: `${manifestType}, ${list}` };
  expect((await pull("manifests/1", { headers })).text).toBe(two);
  expect(await pullInOutage("manifests/1")).toEqual([200, two]);
});

describe("while the registry fails, a tag that clients have asked for only by HEAD since their first pull", () => {
  const withTimes = (text: string) =>
    withOutage("staleSeconds: 2")(text).replaceAll("    blobs:\n", "    blobs:\n      proofTtlSeconds: 1\n");
  const brief = useStack({ seedImages: false, topology: withTimes });

  test("is given, although the copy of its manifest is older than proofTtlSeconds and staleSeconds allow", async () => {
    const { digest, text } = await pushImage(brief.current, "acme/restarted", 1);
    const token = await createClient(brief.current.edge).token(["repository:acme/restarted:pull"]);
    const pull = pullerOf(brief.current, "acme/restarted", token);
    expect((await pull(`manifests/${digest}`)).text).toBe(text);
    // This is what containerd sends if it has the image already.
    const head = async () => (await pull("manifests/1", { method: "HEAD" })).status;
    for (let second = 0; second < 4; second += 1) {
      expect(await head()).toBe(200);
      await sleep(1_000);
    }
    await brief.current.edgeSettled();
    await brief.current.setFault("pod-a", "registry", { mode: "refuse" });
    const seen = [await head(), (await pull("manifests/1")).text];
    await endFault(brief.current, "pod-a");
    expect(seen).toEqual([200, text]);
  });
});

describe("while the registry fails, after an answer that came late", () => {
  test.each([
    ["was deleted", "DELETE", 202],
    ["was pushed anew", "PUT", 201],
  ])("a tag that %s during a push does not give the manifest of that push", async (_, second, status) => {
    const { push, remove, pullInOutage } = await clientOf(`globex/late-${second.toLowerCase()}`);
    const { held, release } = startRegistry({ method: "PUT", body: one });
    const first = push("manifests/1", one);
    await held;
    expect(await (second === "PUT" ? push("manifests/1", two) : remove("manifests/1"))).toBe(status);
    release();
    expect(await first).toBe(201);
    expect(await pullInOutage("manifests/1")).toEqual([503, null]);
  });

  test.each([
    ["tag", "manifests/1"],
    ["digest", `manifests/${digestOfOne}`],
  ])(
    "a manifest that was pushed by %s before a 404 came is pulled, because the Pod was asked before the push",
    async (by, path) => {
      const { pull, push, pullInOutage } = await clientOf(`globex/late-404-by-${by}`);
      const { held, release } = startRegistry({ method: "GET", body: "" });
      const missing = pull(path);
      await held;
      expect(await push(path, one)).toBe(201);
      await stack.current.edgeSettled();
      release();
      expect((await missing).status).toBe(404);
      expect(await pullInOutage(path)).toEqual([200, one]);
    },
  );

  test("a blob that was proven before a 404 came is pulled, because the Pod was asked before the proof", async () => {
    const { pull, pullInOutage } = await clientOf("globex/late-404-of-blob");
    const path = `blobs/sha256:${"c".repeat(64)}`;
    const { held, release } = startRegistry({ method: "HEAD", body: "" });
    const missing = pull(path, { method: "HEAD" });
    await held;
    pod.answer((response, request) => answerBlob(response, request.path));
    expect((await pull(path, { method: "HEAD" })).status).toBe(200);
    release();
    expect((await missing).status).toBe(404);
    expect(await pullInOutage(path)).toEqual([307, null]);
  });
});
