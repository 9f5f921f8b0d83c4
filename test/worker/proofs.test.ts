import { beforeEach, describe, expect, test } from "vitest";
import { createClient, pushBlob } from "../support/client.ts";
import { manifestText, pushImage, putManifest } from "../support/image.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack({ seedImages: false });
const edge = () => createClient(stack.current.edge);
const pullToken = (repository: string) => edge().token([`repository:${repository}:pull`]);

async function getBlobs(repository: string, digests: readonly string[]) {
  const token = await pullToken(repository);
  const statuses: number[] = [];
  for (const digest of digests) {
    const answer = await edge().get(`/v2/${repository}/blobs/${digest}`, token);
    expect(answer.headers.has("Location")).toBe(answer.status === 307);
    statuses.push(answer.status);
  }
  await stack.current.edgeSettled();
  const records = stack.current.edgeSeen().filter(({ endpoint, method }) => endpoint === "blob" && method === "GET");
  return { statuses, proofs: records.map(({ proof }) => proof) };
}

const registrySaw = () => stack.current.seen("pod-a", "registry").map(({ method, path }) => `${method} ${path}`);
const manifest = async (repository: string, reference: string) =>
  edge().get(`/v2/${repository}/manifests/${reference}`, await pullToken(repository));

describe("with empty caches", () => {
  test.each(["tag", "digest"])(
    "a manifest that is pulled by %s proves its blobs, and the Pod is asked for none",
    async (by) => {
      const repository = `acme/cold-${by}`;
      const { digest, blobs } = await pushImage(stack.current, repository, 10);
      await stack.current.restartEdge();
      stack.current.clearSeen();
      const reference = by === "tag" ? "1" : digest;
      expect((await manifest(repository, reference)).status).toBe(200);
      expect(await getBlobs(repository, blobs)).toEqual({
        statuses: Array(11).fill(307),
        proofs: Array(11).fill("manifest"),
      });
      expect(registrySaw()).toEqual([`GET /v2/${repository}/manifests/${reference}`]);
    },
  );

  test("the Pod is asked for a blob once, and the next GET uses that proof", async () => {
    const digest = await pushBlob(stack.current, "acme/once", "a blob of no manifest");
    await stack.current.restartEdge();
    stack.current.clearSeen();
    expect(await getBlobs("acme/once", [digest, digest])).toEqual({ statuses: [307, 307], proofs: ["head", "memory"] });
    expect(registrySaw()).toEqual([`HEAD /v2/acme/once/blobs/${digest}`]);
  });
});

describe("another isolate of the same location", () => {
  test("it uses the proofs of the first, however they were found", async () => {
    const { blobs } = await pushImage(stack.current, "acme/shared", 1);
    const asked = await pushBlob(stack.current, "acme/shared", "asked for by HEAD");
    expect((await getBlobs("acme/shared", [asked])).statuses).toEqual([307]);
    await stack.current.edgeSettled();
    await stack.current.restartEdge("kept");
    stack.current.clearSeen();
    const all = [...blobs, asked];
    expect(await getBlobs("acme/shared", all)).toEqual({ statuses: [307, 307, 307], proofs: Array(3).fill("cache") });
    expect(registrySaw()).toEqual([]);
  });

  test("it sees the tombstones of the first, and no manifest brings a blob back", async () => {
    const { blobs } = await pushImage(stack.current, "acme/buried", 1);
    const [config = "", layer = ""] = blobs;
    const token = await edge().token(["repository:acme/buried:delete"]);
    const deleted = await edge().get(`/v2/acme/buried/blobs/${layer}`, token, { method: "DELETE" });
    expect(deleted.status).toBe(202);
    await stack.current.edgeSettled();
    await stack.current.restartEdge("kept");
    expect((await manifest("acme/buried", "1")).status).toBe(200);
    expect((await getBlobs("acme/buried", [layer, config])).statuses).toEqual([404, 307]);
  });
});

test("a blob that is deleted under one hostname of the edge is gone under another", async () => {
  const { blobs } = await pushImage(stack.current, "acme/two-names", 1);
  const [, layer = ""] = blobs;
  const path = `/v2/acme/two-names/blobs/${layer}`;
  const token = await edge().token(["repository:acme/two-names:pull,delete"]);
  const elsewhere = createClient(stack.current.edge.replace("127.0.0.1", "localhost"));
  await stack.current.restartEdge("kept");
  expect((await elsewhere.get(path, token, { method: "HEAD" })).status).toBe(307);
  await stack.current.edgeSettled();
  await stack.current.restartEdge("kept");
  expect((await edge().get(path, token, { method: "DELETE" })).status).toBe(202);
  await stack.current.edgeSettled();
  await stack.current.restartEdge("kept");
  expect((await elsewhere.get(path, token)).status).toBe(404);
  expect((await manifest("acme/two-names", "1")).status).toBe(200);
  expect((await elsewhere.get(path, token)).status).toBe(404);
});

describe("push of a manifest", () => {
  beforeEach(() => stack.current.clearSeen());

  test("it proves the blobs that the manifest names", async () => {
    const { blobs } = await pushImage(stack.current, "acme/pushed", 3);
    stack.current.clearSeen();
    expect(await getBlobs("acme/pushed", blobs)).toEqual({
      statuses: Array(4).fill(307),
      proofs: Array(4).fill("manifest"),
    });
    expect(registrySaw()).toEqual([]);
  });

  test("a manifest that names a blob of another repository is refused and proves nothing", async () => {
    const { blobs } = await pushImage(stack.current, "acme/victim", 1);
    const own = await pushBlob(stack.current, "acme/attacker", "an own config");
    const answer = await putManifest(stack.current, "acme/attacker", "1", manifestText([own, ...blobs]));
    expect(answer.status).toBe(400);
    expect((await getBlobs("acme/victim", blobs)).statuses).toEqual([307, 307]);
    expect((await getBlobs("acme/attacker", blobs)).statuses).toEqual([404, 404]);
  });
});

test("a client's own HEAD proves a blob, and a HEAD that the Pod answers with 404 ends the proof", async () => {
  const digest = await pushBlob(stack.current, "acme/headed", "asked for by HEAD");
  const token = await edge().token(["repository:acme/headed:pull,delete"]);
  const path = `/v2/acme/headed/blobs/${digest}`;
  stack.current.clearSeen();
  expect((await edge().get(path, token, { method: "HEAD" })).status).toBe(307);
  expect(await getBlobs("acme/headed", [digest])).toEqual({ statuses: [307], proofs: ["memory"] });
  const atPod = createClient(stack.current.pods["pod-a"].registry.direct);
  expect((await atPod.get(path, jwtOf(token), { method: "DELETE" })).status).toBe(202);
  expect((await edge().get(path, token, { method: "HEAD" })).status).toBe(404);
  await stack.current.edgeSettled();
  expect((await getBlobs("acme/headed", [digest])).statuses).toEqual([404]);
});

describe("deleted blob", () => {
  const setUp = async (repository: string) => {
    const { blobs, digest } = await pushImage(stack.current, repository, 1);
    const token = await edge().token([`repository:${repository}:pull,push,delete`]);
    expect((await getBlobs(repository, blobs)).statuses).toEqual([307, 307]);
    return { token, config: blobs[0] ?? "", layer: blobs[1] ?? "", digest };
  };
  const remove = (repository: string, digest: string, token: string) =>
    edge().get(`/v2/${repository}/blobs/${digest}`, token, { method: "DELETE" });

  test("it is gone at once even if its manifest is pulled again, and the other blobs stay", async () => {
    const { token, config, layer, digest } = await setUp("acme/deleted");
    expect((await remove("acme/deleted", layer, token)).status).toBe(202);
    for (const reference of ["1", digest, "1"]) {
      expect((await manifest("acme/deleted", reference)).status).toBe(200);
      expect((await getBlobs("acme/deleted", [layer, config])).statuses).toEqual([404, 307]);
    }
  });

  test("after it is pushed again, a HEAD proves it", async () => {
    const { token, layer } = await setUp("acme/again");
    expect((await remove("acme/again", layer, token)).status).toBe(202);
    expect(await pushBlob(stack.current, "acme/again", "blob 1 of acme/again")).toBe(layer);
    expect((await manifest("acme/again", "1")).status).toBe(200);
    stack.current.clearSeen();
    expect(await getBlobs("acme/again", [layer, layer])).toEqual({ statuses: [307, 307], proofs: ["head", "memory"] });
  });

  test("a DELETE without the right to it ends no proof", async () => {
    const { layer } = await setUp("acme/kept");
    expect((await remove("acme/kept", layer, await pullToken("acme/kept"))).status).toBe(401);
    stack.current.clearSeen();
    expect(await getBlobs("acme/kept", [layer])).toEqual({ statuses: [307], proofs: ["manifest"] });
  });
});

const jwtOf = (bundle: string): string => bundle.split("/").slice(1).join("/");
