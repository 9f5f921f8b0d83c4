import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import type { Moving } from "../../src/directory/moves.ts";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import type { Fault } from "../../src/local/taps/faults.ts";
import { createClient, createPodClient, pushBlob } from "../support/client.ts";
import { askToken, pullOf } from "../support/grace.ts";
import { manifestText, manifestType, putManifest } from "../support/image.ts";
import { keepManifest } from "../support/pull.ts";
import { endFault, readStackKv, useStack, withOutage } from "../support/toy-stack.ts";
import { useGroups } from "../support/use-groups.ts";
import { moveIn } from "../support/use-moves.ts";

/** Kept manifests and proofs are fresh for this long. After that, the edge uses them only while the Pod fails. */
const proofTtlSeconds = 1;
const stack = useStack({
  seedImages: false,
  topology: (text) =>
    withOutage("staleSeconds: 600, graceSeconds: 600")(text).replaceAll(
      "    blobs:\n",
      `    blobs:\n      proofTtlSeconds: ${proofTtlSeconds}\n`,
    ),
});
const { write, assign, enter, startGroup, askedPods } = useGroups(stack);
const client = () => createClient(stack.current.edge);
const tokenFor = (repository: string, actions = "pull") => client().token([`repository:${repository}:${actions}`]);

async function settle(group: string, repository: string, kept: { readonly digest: string; readonly pod: string }) {
  await assign(group, { pod: kept.pod });
  await keepManifest(stack.current, repository, kept.digest);
  await write(group, { pod: "pod-a", move: moveIn("settle", "pod-b") });
  await stack.current.restartEdge("kept");
}

afterEach(async () => {
  await stack.current.setFault("pod-a", "token", { mode: "none" });
  await endFault(stack.current, "pod-a");
});

describe("while the old Pod of a move fails", () => {
  const faults = [
    ["refuses connections", 503, { mode: "refuse" }],
    ["cannot be reached by Cloudflare, which answers 521", 503, { mode: "status", status: 521 }],
    ["answers 503", 503, { mode: "status", status: 503 }],
    ["answers 500", 500, { mode: "status", status: 500 }],
    ["answers 429", 429, { mode: "status", status: 429 }],
  ] as const;

  test.each(faults)(
    "if its registry %s, what may be there gets %d, and what the new Pod has is served",
    async (_, status, fault) => {
      const { group, repository, image } = await startGroup("pod-a");
      await assign(group, { pod: "pod-b" });
      await pushBlob(stack.current, repository, "new");
      const text = manifestText([await pushBlob(stack.current, repository, "newer")]);
      expect((await putManifest(stack.current, repository, "new", text)).status).toBe(201);
      await enter(group, "settle");
      const token = await tokenFor(repository);
      const get = (path: string) => client().get(`/v2/${repository}/${path}`, token);
      await stack.current.setFault("pod-a", "registry", fault);
      expect((await get(`manifests/${image.digest}`)).status).toBe(status);
      expect((await get("manifests/new")).status).toBe(200);
      expect((await get("manifests/gone")).status).toBe(404);
    },
  );

  test.each(faults)(
    "if its registry %s, a deletion gets %d, and when it is repeated, it reaches the old Pod too",
    async (_, status, fault) => {
      const { group, repository, image } = await startGroup("pod-a", "pod-b");
      await enter(group, "settle");
      const token = await tokenFor(repository, "pull,delete");
      const paths = [`/v2/${repository}/manifests/${image.digest}`, `/v2/${repository}/blobs/${image.blobs[0]}`];
      const deleted = () =>
        Promise.all(paths.map(async (path) => (await client().get(path, token, { method: "DELETE" })).status));
      await stack.current.setFault("pod-a", "registry", fault);
      expect(await deleted()).toEqual([status, status]);
      await endFault(stack.current, "pod-a");
      expect(await deleted()).toEqual([202, 202]);
      // A restart clears the memory and the caches of the edge, so these answers come from the Pods.
      await stack.current.restartEdge();
      for (const path of paths) expect((await client().get(path, token)).status).toBe(404);
      expect(stack.current.seen("pod-a", "storage")).toEqual([]);
    },
  );

  test("a digest that only the old Pod has is pulled from the edge's caches", async () => {
    const { group, repository, image } = await startGroup("pod-a");
    await settle(group, repository, { digest: image.digest, pod: "pod-a" });
    const token = await tokenFor(repository);
    await sleep(proofTtlSeconds * 1_000 + 100);
    await stack.current.setFault("pod-a", "registry", { mode: "status", status: 503 });
    stack.current.clearSeen();
    const pulled = await client().get(`/v2/${repository}/manifests/${image.digest}`, token);
    expect([pulled.status, pulled.headers.get("Warning")]).toEqual([200, '110 - "response is stale"']);
    expect(await pulled.text()).toBe(image.text);
    expect(askedPods()).toEqual(["pod-a", "pod-b"]);
    expect(stack.current.seen("pod-a", "storage")).toEqual([]);
  });

  test.each<[string, Fault]>([
    ["answers 503", { mode: "status", status: 503 }],
    ["never answers", { mode: "hang" }],
    ["refuses connections", { mode: "refuse" }],
  ])("if its registry %s, a blob that only the old Pod has is redirected by an expired proof", async (_, fault) => {
    const { group, repository, image } = await startGroup("pod-a");
    await settle(group, repository, { digest: image.digest, pod: "pod-a" });
    const token = await tokenFor(repository);
    await sleep(proofTtlSeconds * 1_000 + 100);
    await stack.current.setFault("pod-a", "registry", fault);
    stack.current.clearSeen();
    const pulled = await client().get(`/v2/${repository}/blobs/${image.blobs[0]}`, token);
    expect([pulled.status, pulled.headers.get("Warning")]).toEqual([307, '110 - "response is stale"']);
  });

  test("a digest that the new Pod no longer has is not served from the edge's copy of the new Pod's manifest", async () => {
    const { group, repository, image } = await startGroup("pod-b");
    await settle(group, repository, { digest: image.digest, pod: "pod-b" });
    const path = `/v2/${repository}/manifests/${image.digest}`;
    const atPodB = createPodClient(stack.current, "pod-b");
    const deleting = await atPodB.token([`repository:${repository}:pull,delete`]);
    expect((await atPodB.get(path, deleting, { method: "DELETE" })).status).toBe(202);
    const token = await tokenFor(repository);
    await sleep(proofTtlSeconds * 1_000 + 100);
    await stack.current.setFault("pod-a", "registry", { mode: "status", status: 503 });
    stack.current.clearSeen();
    // With only one type in `Accept`, a 404 does not prove that the manifest is gone, so the edge keeps its copy.
    const pulled = await client().get(path, token, { headers: { Accept: manifestType } });
    expect([pulled.status, pulled.headers.get("Warning")]).toEqual([503, null]);
    expect(askedPods()).toEqual(["pod-a", "pod-b"]);
    expect(stack.current.seen("pod-b", "storage")).toEqual([]);
  });

  test("a grant of the edge's own for the old Pod pulls what the edge holds, and the old Pod is not called", async () => {
    const { group, repository, image } = await startGroup("pod-a");
    await settle(group, repository, { digest: image.digest, pod: "pod-a" });
    await tokenFor(repository);
    await stack.current.edgeSettled();
    await stack.current.setFault("pod-a", "token", { mode: "status", status: 503 });
    const token = await tokenFor(repository);
    stack.current.clearSeen();
    const path = `/v2/${repository}/manifests`;
    const pulled = await client().get(`${path}/${image.digest}`, token);
    expect([pulled.status, pulled.headers.get("Warning")]).toEqual([200, '110 - "response is stale"']);
    // The old Pod may have a digest that the edge does not hold, so a 404 could be wrong.
    expect((await client().get(`${path}/sha256:${"0".repeat(64)}`, token)).status).toBe(503);
    expect(askedPods()).toEqual(["pod-b"]);
    expect(stack.current.seen("pod-a", "storage")).toEqual([]);
  });

  test("a token that lacks its part is valid for a minute, and finds nothing that only the old Pod has", async () => {
    const { group, repository, image } = await startGroup("pod-a");
    await enter(group, "settle");
    await stack.current.setFault("pod-a", "token", { mode: "delay", ms: 5_000 });
    const pull = async (token: string) =>
      (await client().get(`/v2/${repository}/manifests/${image.digest}`, token)).status;
    const short = await askToken(stack.current, [pullOf(repository)]);
    expect([short.status, short.expiresIn, await pull(short.token)]).toEqual([200, 60, 404]);
    expect(askedPods()).toEqual(["pod-b"]);
    await stack.current.setFault("pod-a", "token", { mode: "none" });
    expect(await pull(await tokenFor(repository))).toBe(200);
  });
});

describe("token request during a move", () => {
  const podsOf = (token: string) => [...token.matchAll(/(pod-[ab])\/(edge)?/g)].map(([, pod, own]) => own ?? pod);

  test.each<[string, Fault, number]>([
    ["answers after four seconds", { mode: "delay", ms: 4_000 }, 200],
    ["fails", { mode: "status", status: 503 }, 503],
    ["refuses the pull", { mode: "status", status: 403 }, 403],
  ])(
    "if the serving Pod's token service %s, a pull is not granted by the other Pod's part",
    async (_, fault, status) => {
      const { group, repository } = await startGroup("pod-a");
      await enter(group, "copy");
      await stack.current.setFault("pod-a", "token", fault);
      const answer = await askToken(stack.current, [pullOf(repository)]);
      expect(answer.status).toBe(status);
      expect(stack.current.seen("pod-b", "token").map(({ status: granted }) => granted)).toEqual([200]);
      if (status !== 200) return;
      expect(podsOf(answer.token)).toEqual(["pod-a", "pod-b"]);
      expect((await client().get(`/v2/${repository}/manifests/1`, answer.token)).status).toBe(200);
    },
  );

  test("a refusal of the serving Pod's token service comes in time although the other Pod's hangs", async () => {
    const { group, repository } = await startGroup("pod-a");
    await enter(group, "copy");
    await stack.current.setFault("pod-a", "token", { mode: "status", status: 403 });
    await stack.current.setFault("pod-b", "token", { mode: "hang" });
    const startedAtMs = performance.now();
    const { status } = await askToken(stack.current, [pullOf(repository)]);
    await stack.current.setFault("pod-b", "token", { mode: "none" });
    expect(status).toBe(403);
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
  });

  test("the edge gives no grant of its own while the serving Pod's token service is only slow", async () => {
    const { group, repository } = await startGroup("pod-a");
    await enter(group, "copy");
    await tokenFor(repository);
    await stack.current.edgeSettled();
    await stack.current.setFault("pod-a", "token", { mode: "delay", ms: 4_000 });
    expect(podsOf(await tokenFor(repository))).toEqual(["pod-a", "pod-b"]);
  });

  test.each<[Moving["phase"], LocalPodId, LocalPodId]>([
    ["copy", "pod-a", "pod-b"],
    ["settle", "pod-b", "pod-a"],
  ])(
    "during %s, %s grants pulls and pushes although the record of %s cannot be read",
    async (phase, serving, other) => {
      const { group, repository } = await startGroup(serving);
      const key = `pod/${other}`;
      const record = (await readStackKv(stack.current, [key])).get(key) ?? "";
      await enter(group, phase);
      await stack.current.putKv(key, record.replace('"v":1', '"v":2'));
      await stack.current.restartEdge();
      try {
        const token = await client().token([`repository:${repository}:pull,push`]);
        expect(podsOf(token)).toEqual([serving]);
        expect((await client().get(`/v2/${repository}/manifests/1`, token)).status).toBe(200);
      } finally {
        await stack.current.putKv(key, record);
        await stack.current.restartEdge();
      }
    },
  );
});
