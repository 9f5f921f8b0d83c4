import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import { type Client, createClient, createPodClient } from "../support/client.ts";
import { pushImage, putManifest } from "../support/image.ts";
import { keepManifest } from "../support/pull.ts";
import { endFault, useStack, withoutDefault } from "../support/toy-stack.ts";
import { useGroups } from "../support/use-groups.ts";

const stack = useStack({ seedImages: false, topology: withoutDefault });

const assign = (prefix: string, pod: LocalPodId) =>
  stack.current.putKv(`route/${prefix}`, JSON.stringify({ v: 1, pod, revision: 1, state: "active" }));
const scopeOf = (name: string) => `repository:${name}:pull,push`;
const podOf = (token: string) => token.replace(/^pods\.v1\./, "").split("/")[0];

/** Gets a token for the name directly from this Pod. A client may still have such a token if the name belonged to this Pod before. */
async function tokenBy(pod: LocalPodId, name: string): Promise<string> {
  const query = new URLSearchParams({ service: `${pod}-registry`, scope: scopeOf(name) });
  const headers = { Authorization: `Basic ${btoa("demo:demo")}` };
  const answer = await fetch(`${stack.current.pods[pod].token.url}/jwt/auth?${query}`, { headers });
  return `pods.v1.${pod}/${((await answer.json()) as { token: string }).token}`;
}

const starts = async (client: Client, name: string, token: string) =>
  (await client.get(`/v2/${name}/blobs/uploads/`, token, { method: "POST" })).status;

test.each<[string, LocalPodId | null, number]>([
  ["moved", "pod-a", 202],
  ["just-assigned", null, 404],
])(
  "a token for a %s name goes to its new Pod before this isolate's copy of it expires",
  async (prefix, old, before) => {
    const client = createClient(stack.current.edge);
    const name = `${prefix}/app`;
    if (old !== null) await assign(prefix, old);
    expect(await starts(client, name, await tokenBy("pod-a", name))).toBe(before);
    // The isolate reads the assignment again only if its copy is older than two seconds.
    await sleep(2_100);
    await assign(prefix, "pod-b");
    const newToken = await tokenBy("pod-b", name);
    stack.current.clearSeen();
    expect(await starts(client, name, newToken)).toBe(202);
    expect(stack.current.seen("pod-b", "registry").map(({ status }) => status)).toEqual([202]);
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
    expect(await starts(client, name, await tokenBy("pod-a", name))).toBe(401);
    expect(stack.current.seen("pod-b", "registry")).toHaveLength(1);
  },
);

test("a token for a name below a first deeper assignment goes to its new Pod before this isolate's copies expire", async () => {
  const client = createClient(stack.current.edge);
  const name = "deep/team/app";
  await assign("deep", "pod-a");
  expect(await starts(client, name, await tokenBy("pod-a", name))).toBe(202);
  await sleep(2_100);
  const record = { v: 1, revision: 2, pods: ["pod-a", "pod-b"], credentials: "shared", depth: 2 };
  await stack.current.putKv("directory", JSON.stringify(record));
  await assign("deep/team", "pod-b");
  const newToken = await tokenBy("pod-b", name);
  stack.current.clearSeen();
  expect(await starts(client, name, newToken)).toBe(202);
  expect(stack.current.seen("pod-b", "registry").map(({ status }) => status)).toEqual([202]);
});

test("the token endpoint knows a name's new Pod within seconds", async () => {
  const client = createClient(stack.current.edge);
  await assign("mover", "pod-a");
  expect(podOf(await client.token([scopeOf("mover/app")]))).toBe("pod-a");
  await assign("mover", "pod-b");
  await sleep(2_100);
  expect(podOf(await client.token([scopeOf("mover/app")]))).toBe("pod-b");
});

test("a token that the wrong Pod gave does not cost a KV read for each request", async () => {
  const client = createClient(stack.current.edge);
  await assign("stays", "pod-a");
  const foreign = await tokenBy("pod-b", "stays/app");
  await starts(client, "stays/app", foreign);
  await stack.current.edgeSettled();
  const before = stack.current.kvReads();
  for (let count = 0; count < 5; count += 1) expect(await starts(client, "stays/app", foreign)).toBe(401);
  await stack.current.edgeSettled();
  expect(stack.current.kvReads() - before).toBeLessThan(5);
});

describe("group that returns to its old Pod", () => {
  const { write, assign: give, startGroup, askedPods } = useGroups(stack);
  const tokenFor = (repository: string) => createClient(stack.current.edge).token([`repository:${repository}:pull`]);
  /** The edge loses its memory, but keeps its location's cache. */
  const moveTo = async (group: string, pod: LocalPodId) => {
    await write(group, { pod });
    await stack.current.restartEdge("kept");
    stack.current.clearSeen();
  };
  /** Both Pods have the image. The edge remembers its tag, its manifest and a proof of one of its blobs from pod-a. */
  const startHeld = async () => {
    const { group, repository, image } = await startGroup("pod-a", "pod-b");
    await give(group, { pod: "pod-a" });
    await keepManifest(stack.current, repository, image.digest);
    const paths = [`/v2/${repository}/manifests/${image.digest}`, `/v2/${repository}/blobs/${image.blobs[1]}`] as const;
    const pull = async () => {
      const token = await tokenFor(repository);
      return Promise.all(paths.map(async (path) => (await createClient(stack.current.edge).get(path, token)).status));
    };
    expect(await pull()).toEqual([200, 307]);
    await stack.current.edgeSettled();
    return { group, repository, paths, pull };
  };
  const deleteAll = async (to: Client, repository: string, paths: readonly string[]) => {
    const token = await to.token([`repository:${repository}:pull,delete`]);
    for (const path of paths) expect((await to.get(path, token, { method: "DELETE" })).status).toBe(202);
    await stack.current.edgeSettled();
  };

  test("what was deleted at the new Pod does not come back, from whatever the location remembers of the old Pod", async () => {
    const { group, repository, paths, pull } = await startHeld();
    await moveTo(group, "pod-b");
    await deleteAll(createClient(stack.current.edge), repository, paths);
    await deleteAll(createPodClient(stack.current, "pod-a"), repository, paths);
    await moveTo(group, "pod-a");
    expect(await pull()).toEqual([404, 404]);
    expect(askedPods()).toEqual(["pod-a"]);
    await stack.current.setFault("pod-a", "registry", { mode: "status", status: 503 });
    try {
      const tag = await createClient(stack.current.edge).get(
        `/v2/${repository}/manifests/1`,
        await tokenFor(repository),
      );
      expect([tag.status, await pull()]).toEqual([503, [503, 503]]);
    } finally {
      await endFault(stack.current, "pod-a");
    }
  });

  test("what was deleted at the new Pod, and is still at the old Pod, costs one question to the old Pod", async () => {
    const { group, repository, paths, pull } = await startHeld();
    await moveTo(group, "pod-b");
    await deleteAll(createClient(stack.current.edge), repository, paths);
    await moveTo(group, "pod-a");
    expect(await pull()).toEqual([200, 307]);
    const asked = stack.current.seen("pod-a", "registry").map(({ method, path }) => `${method} ${path}`);
    expect(asked.toSorted()).toEqual([`GET ${paths[0]}`, `HEAD ${paths[1]}`]);
    await stack.current.edgeSettled();
    stack.current.clearSeen();
    expect(await pull()).toEqual([200, 307]);
    expect(askedPods()).toEqual([]);
  });

  test("a tag that was moved at the new Pod is not served in its old state while the old Pod fails", async () => {
    const { group, repository } = await startHeld();
    await moveTo(group, "pod-b");
    const next = await pushImage(stack.current, repository, 2);
    expect((await putManifest(stack.current, repository, "1", next.text)).status).toBe(201);
    await stack.current.edgeSettled();
    await moveTo(group, "pod-a");
    await stack.current.setFault("pod-a", "registry", { mode: "status", status: 503 });
    try {
      const tag = await createClient(stack.current.edge).get(
        `/v2/${repository}/manifests/1`,
        await tokenFor(repository),
      );
      expect([tag.status, tag.headers.get("Warning")]).toEqual([503, null]);
      expect(stack.current.seen("pod-a", "storage")).toEqual([]);
    } finally {
      await endFault(stack.current, "pod-a");
    }
  });
});
