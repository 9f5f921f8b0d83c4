import { describe, expect, test } from "vitest";
import type { MovePhase } from "../../src/directory/moves.ts";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import { createClient, pushBlob, sha256 } from "../support/client.ts";
import { manifestType, pushImage, putManifest } from "../support/image.ts";
import { keepManifest } from "../support/pull.ts";
import { onOneRegistry, readStackKv, useStack } from "../support/toy-stack.ts";

const stack = useStack({ ...onOneRegistry, gateways: "fleet" });
const client = () => createClient(stack.current.edge);
const scopeOf = (repository: string, actions: string) => `repository:${repository}:${actions}`;
const tokenFor = (repository: string, actions = "pull") => client().token([scopeOf(repository, actions)]);
/** This client's uploads go to the edge, not to a gateway. */
const onEdge = { "User-Agent": "oras/1.3.4" };
/** Both Pods share this registry. */
const seen = () => stack.current.seen("pod-a", "registry");

/** Asks the Pod's token service directly, because the edge would not ask this service for a name of the other Pod. */
async function jwtFrom(pod: LocalPodId, repository: string, actions = "pull,push,delete"): Promise<string> {
  const query = new URLSearchParams({ service: "pod-a-registry", scope: scopeOf(repository, actions) });
  const headers = { Authorization: `Basic ${btoa("demo:demo")}` };
  const answer = await fetch(`${stack.current.pods[pod].token.direct}/jwt/auth?${query}`, { headers });
  return ((await answer.json()) as { token: string }).token;
}

async function lastPod() {
  await stack.current.edgeSettled();
  return stack.current.edgeSeen().at(-1)?.pod;
}

describe("Pods of one registry", () => {
  test("each Pod's names take only its own tokens, although the registry takes either", async () => {
    const repository = "globex/private";
    const jwt = await jwtFrom("pod-a", repository);
    const path = `/v2/${repository}/manifests/1`;
    const direct = createClient(stack.current.pods["pod-b"].registry.direct);
    const taken = await direct.get(path, jwt);
    expect(taken.status).toBe(200);
    const [layer] = ((await taken.json()) as { layers: { digest: string }[] }).layers;
    stack.current.clearSeen();
    for (const token of [`pods.v1.pod-a/${jwt}`, `pods.v1.pod-b/${jwt}`, `pods.v1.pod-b/${jwt}~pod-a/${jwt}`, jwt]) {
      const answers = [
        await client().get(path, token),
        await client().get(`/v2/${repository}/tags/list`, token),
        await client().get(`/v2/${repository}/blobs/${layer?.digest}`, token),
        await client().get(`/v2/${repository}/blobs/uploads/`, token, { method: "POST" }),
        await client().get(path, token, { method: "PUT", body: "{}", headers: { "Content-Type": manifestType } }),
        await client().get(path, token, { method: "DELETE" }),
      ];
      expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(401));
    }
    expect(seen()).toEqual([]);
    expect(stack.current.seen("pod-a", "storage")).toEqual([]);
    const own = await client().get(path, await tokenFor(repository));
    expect([own.status, await lastPod()]).toEqual([200, "pod-b"]);
  });

  /** The runbook tells operators to write this record if the directory record is damaged. */
  const repaired = '{"v":1,"revision":2}';

  test.each([
    ["as podctl writes it", null],
    ["that was repaired and lists no Pods", repaired],
  ])("with a directory record %s, an unknown key's token is refused, and the registry is not asked", async (_, put) => {
    const [key, directory] = ["pod/pod-a", "directory"];
    const stored = await readStackKv(stack.current, [key, directory]);
    const text = stored.get(key) ?? "";
    const { keys, ...others } = JSON.parse(text) as { keys: { kid: string }[] };
    await stack.current.putKv(key, JSON.stringify({ ...others, keys: [] }));
    await stack.current.deleteKv(`key/${keys[0]?.kid}`);
    if (put !== null) await stack.current.putKv(directory, put);
    await stack.current.restartEdge();
    try {
      const jwt = await jwtFrom("pod-a", "globex/private");
      stack.current.clearSeen();
      for (const token of [`pods.v1.pod-b/${jwt}`, `pods.v1.pod-a/${jwt}`, jwt]) {
        const answer = await client().get("/v2/globex/private/manifests/1", token);
        expect(answer.status).toBe(401);
        expect(answer.headers.get("WWW-Authenticate")).toContain('error="invalid_token"');
        expect((await client().get("/v2/", token)).status).toBe(401);
      }
      expect(seen()).toEqual([]);
    } finally {
      await stack.current.putKv(key, text);
      await stack.current.putKv(`key/${keys[0]?.kid}`, JSON.stringify({ v: 1, pod: "pod-a" }));
      await stack.current.putKv(directory, stored.get(directory) ?? "");
      await stack.current.restartEdge();
    }
  });

  test("a mount from the other Pod is made by the gateway, and without the gateway an upload begins", async () => {
    const digest = await pushBlob(stack.current, "acme/source", "a layer of one registry");
    const token = await client().token([scopeOf("globex/target", "pull,push"), scopeOf("acme/source", "pull")]);
    const mount = () =>
      client().get(`/v2/globex/target/blobs/uploads/?mount=${digest}&from=acme/source`, token, {
        method: "POST",
        headers: onEdge,
      });
    await stack.current.setFault("pod-b", "gateway", { mode: "refuse" });
    stack.current.clearSeen();
    try {
      expect((await mount()).status).toBe(202);
      expect((await client().get(`/v2/globex/target/blobs/${digest}`, token, { method: "HEAD" })).status).toBe(404);
    } finally {
      await stack.current.setFault("pod-b", "gateway", { mode: "none" });
    }
    await expect.poll(async () => (await mount()).status, { timeout: 15_000 }).toBe(201);
    expect((await client().get(`/v2/globex/target/blobs/${digest}`, token)).status).toBe(307);
    const posts = seen().filter(({ method }) => method === "POST");
    expect(posts.length).toBeGreaterThan(1);
    expect(posts.filter(({ path }) => /mount|from/.test(path))).toEqual([]);
  });

  test.each([
    ["a rename", "PATCH", "/gitlab/v1/repositories/acme/private/"],
    ["the list below a path", "GET", "/gitlab/v1/repository-paths/acme/private/repositories/list/"],
    ["the size below a path", "GET", "/gitlab/v1/repositories/acme/private/?size=self_with_descendants"],
    ["the registry's statistics", "GET", "/gitlab/v1/statistics/"],
  ])(
    "GitLab's API: %s is refused, because the registry would do it for another Pod's names too",
    async (_, method, path) => {
      const scopes = [
        "repository:acme/private:pull,push",
        "repository:acme/private/*:pull,push",
        "registry:statistics:*",
      ];
      const token = await client().token(scopes);
      stack.current.clearSeen();
      const body = method === "PATCH" ? '{"namespace":"globex/private"}' : null;
      const answer = await client().get(path, token, { method, body, headers: { "Content-Type": "application/json" } });
      expect([answer.status, await answer.text()]).toEqual([403, expect.stringContaining("other registries")]);
      expect(seen()).toEqual([]);
      expect(stack.current.seen("pod-a", "storage")).toEqual([]);
    },
  );

  test("GitLab's API: a rename is refused while a repaired directory record lists no Pods", async () => {
    const token = await client().token(["repository:acme/private:pull,push", "repository:acme/private/*:pull,push"]);
    const text = (await readStackKv(stack.current, ["directory"])).get("directory") ?? "";
    await stack.current.putKv("directory", repaired);
    await stack.current.restartEdge();
    stack.current.clearSeen();
    try {
      const headers = { "Content-Type": "application/json" };
      const asked = { method: "PATCH", body: '{"namespace":"globex/private"}', headers };
      const answer = await client().get("/gitlab/v1/repositories/acme/private/", token, asked);
      expect([answer.status, await answer.text()]).toEqual([403, expect.stringContaining("other registries")]);
      expect(seen()).toEqual([]);
      expect(stack.current.seen("pod-a", "storage")).toEqual([]);
    } finally {
      await stack.current.putKv("directory", text);
      await stack.current.restartEdge();
    }
  });

  test("a mount behind a semicolon does not reach the registry, because some registries would read it", async () => {
    const [layer] = (await pushImage(stack.current, "globex/secret", 1)).blobs;
    const token = `pods.v1.pod-a/${await jwtFrom("pod-a", "acme/private")}`;
    stack.current.clearSeen();
    const path = `/v2/acme/private/blobs/uploads/?x=1;mount=${layer};from=globex/secret`;
    const answer = await client().get(path, token, { method: "POST", headers: onEdge });
    expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining("%3B")]);
    expect(seen()).toEqual([]);
    expect(stack.current.seen("pod-a", "storage")).toEqual([]);
  });

  test("GitLab's API: what is only about the named repository reaches the registry", async () => {
    const token = await client().token(["repository:acme/private:pull"]);
    stack.current.clearSeen();
    for (const path of ["acme/private/", "acme/private/?size=self", "acme/private/tags/list/"])
      await client().get(`/gitlab/v1/repositories/${path}`, token);
    expect(seen().map(({ path }) => path)).toHaveLength(3);
  });

  test("the catalog has each name once", async () => {
    const token = await client().token(["registry:catalog:*"]);
    const { repositories } = (await (await client().get("/v2/_catalog?n=1000", token)).json()) as {
      repositories: string[];
    };
    expect(repositories).toEqual([...new Set(repositories)]);
    expect(repositories).toEqual(expect.arrayContaining(["acme/private", "globex/private"]));
  });

  test("the catalog is refused while a repaired directory record has only a default Pod, because the registry lists the other Pod's names too", async () => {
    const token = await client().token(["registry:catalog:*"]);
    const text = (await readStackKv(stack.current, ["directory"])).get("directory") ?? "";
    await stack.current.putKv("directory", '{"v":1,"revision":2,"default":"pod-a"}');
    await stack.current.restartEdge();
    stack.current.clearSeen();
    try {
      const answer = await client().get("/v2/_catalog", token);
      expect([answer.status, answer.headers.get("WWW-Authenticate")]).toEqual([
        401,
        expect.stringContaining('error="insufficient_scope"'),
      ]);
      expect(seen()).toEqual([]);
      expect(stack.current.seen("pod-a", "storage")).toEqual([]);
    } finally {
      await stack.current.putKv("directory", text);
      await stack.current.restartEdge();
    }
  });
});

describe("move between Pods of one registry", () => {
  let groups = 0;
  const known = new Set<string>();
  const assign = async (group: string, members: object) => {
    await stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", ...members }));
    // This isolate may remember an earlier phase of the group, so we start another isolate at the same location.
    if (known.has(group)) await stack.current.restartEdge("kept");
    known.add(group);
    stack.current.clearSeen();
  };
  const enter = (group: string, phase: MovePhase) =>
    assign(group, { pod: "pod-a", move: { to: "pod-b", phase, since: "2026-11-26T12:00:00.000Z" } });
  async function startGroup() {
    groups += 1;
    const group = `shared${groups}`;
    await assign(group, { pod: "pod-a" });
    const repository = `${group}/app`;
    return { group, repository, image: await pushImage(stack.current, repository, 1) };
  }

  test.each<[MovePhase, LocalPodId]>([
    ["copy", "pod-a"],
    ["settle", "pod-b"],
  ])(
    "during %s, %s serves reads and writes, and the one registry is asked once for what it lacks",
    async (phase, pod) => {
      const { group, repository } = await startGroup();
      await enter(group, phase);
      const token = await tokenFor(repository, "pull,push,delete");
      expect(token.match(/pod-[ab]\//g)?.toSorted()).toEqual(["pod-a/", "pod-b/"]);
      const headers = { "Content-Type": manifestType };
      const { text } = await pushImage(stack.current, repository, 1);
      const put = await client().get(`/v2/${repository}/manifests/2`, token, { method: "PUT", body: text, headers });
      expect([put.status, await lastPod()]).toEqual([201, pod]);
      stack.current.clearSeen();
      // If the token allowed a push, no HEAD would go to the other Pod, even if that Pod had a registry of its own (`isLookedFor`).
      const reader = await tokenFor(repository, "pull,delete");
      const missing = `sha256:${"0".repeat(64)}`;
      for (const path of [`manifests/${missing}`, `blobs/${missing}`]) {
        stack.current.clearSeen();
        expect((await client().get(`/v2/${repository}/${path}`, reader, { method: "DELETE" })).status).toBe(404);
        expect((await client().get(`/v2/${repository}/${path}`, reader, { method: "HEAD" })).status).toBe(404);
        expect(seen().map(({ method }) => method)).toEqual(["DELETE", "HEAD"]);
      }
    },
  );

  test.each<[MovePhase, LocalPodId, LocalPodId]>([
    ["copy", "pod-a", "pod-b"],
    ["settle", "pod-b", "pod-a"],
  ])(
    "during %s, %s serves, but a token of only %s is good as well, and after the move it is not",
    async (phase, _, other) => {
      const { group, repository, image } = await startGroup();
      await enter(group, phase);
      const token = `pods.v1.${other}/${await jwtFrom(other, repository)}`;
      expect((await client().get(`/v2/${repository}/manifests/1`, token)).status).toBe(200);
      expect(await lastPod()).toBe(other);
      const headers = { "Content-Type": manifestType };
      const put = await client().get(`/v2/${repository}/manifests/2`, token, {
        method: "PUT",
        body: image.text,
        headers,
      });
      expect(put.status).toBe(201);
      const elsewhere = await client().get("/v2/globex/private/manifests/1", token);
      expect(elsewhere.status).toBe(401);
      await assign(group, { pod: other === "pod-a" ? "pod-b" : "pod-a" });
      expect((await client().get(`/v2/${repository}/manifests/1`, token)).status).toBe(401);
      expect(seen()).toEqual([]);
    },
  );

  test.each([
    ["down", 503],
    ["read-only", 403],
  ])(
    "while the Pod that serves the group is %s, a token of only the other Pod does not get around that",
    async (state, status) => {
      const { group, repository, image } = await startGroup();
      const key = "pod/pod-b";
      const text = (await readStackKv(stack.current, [key])).get(key) ?? "";
      await stack.current.putKv(key, JSON.stringify({ ...JSON.parse(text), state }));
      await enter(group, "settle");
      try {
        const token = `pods.v1.pod-a/${await jwtFrom("pod-a", repository)}`;
        const headers = { "Content-Type": manifestType };
        const put = await client().get(`/v2/${repository}/manifests/2`, token, {
          method: "PUT",
          body: image.text,
          headers,
        });
        expect(put.status).toBe(status);
        if (state === "down") expect((await client().get(`/v2/${repository}/manifests/1`, token)).status).toBe(status);
        expect(seen()).toEqual([]);
      } finally {
        await stack.current.putKv(key, text);
        await stack.current.restartEdge();
      }
    },
  );

  test("what is deleted after a move does not come back when the group moves back", async () => {
    const { group, repository, image } = await startGroup();
    await keepManifest(stack.current, repository, image.digest);
    await assign(group, { pod: "pod-b" });
    const token = await tokenFor(repository, "pull,delete");
    const path = `/v2/${repository}/manifests/${image.digest}`;
    expect((await client().get(path, token, { method: "DELETE" })).status).toBe(202);
    await enter(group, "copy");
    const back = await client().get(path, `pods.v1.pod-a/${await jwtFrom("pod-a", repository)}`);
    expect(back.status).toBe(404);
  });

  test("a token of another group is good in no phase, and the registry is not asked", async () => {
    const { group, repository } = await startGroup();
    const token = `pods.v1.pod-a/${await jwtFrom("pod-a", "acme/private")}~pod-b/${await jwtFrom("pod-b", "globex/private")}`;
    for (const phase of ["copy", "settle"] as const) {
      await enter(group, phase);
      expect((await client().get(`/v2/${repository}/manifests/1`, token)).status).toBe(401);
    }
    expect(seen()).toEqual([]);
  });

  test("an upload that began before the move ends after it, with a token of the new Pod", async () => {
    const { group, repository } = await startGroup();
    const begun = await client().get(`/v2/${repository}/blobs/uploads/`, await tokenFor(repository, "pull,push"), {
      method: "POST",
      headers: onEdge,
    });
    const body = new Uint8Array(Buffer.from("a layer that takes its time"));
    const digest = await sha256(body);
    await enter(group, "settle");
    const during = await tokenFor(repository, "pull,push");
    const patched = await client().get(begun.headers.get("Location") ?? "", during, {
      method: "PATCH",
      body,
      headers: onEdge,
    });
    expect(patched.status).toBe(202);
    // The move ends after the client got the Locations of its POST and of its PATCH.
    await assign(group, { pod: "pod-b" });
    const token = await tokenFor(repository, "pull,push");
    expect(token).toMatch(/^pods\.v1\.pod-b\/[^~]+$/);
    const asked = await client().get(begun.headers.get("Location") ?? "", token);
    expect([asked.status, await lastPod()]).toEqual([204, "pod-b"]);
    const done = await client().get(`${patched.headers.get("Location")}&digest=${digest}`, token, { method: "PUT" });
    expect([done.status, await lastPod()]).toEqual([201, "pod-b"]);
  });

  test("what an edge deletes in one phase is not served by an edge in the other, from whatever it remembers", async () => {
    const { group, repository, image } = await startGroup();
    const [config, layer] = image.blobs;
    const paths = [`manifests/${image.digest}`, `blobs/${layer}`];
    const ask = async (path: string, method = "GET") =>
      (await client().get(`/v2/${repository}/${path}`, await tokenFor(repository, "pull,delete"), { method })).status;
    await enter(group, "settle");
    await keepManifest(stack.current, repository, image.digest);
    expect([await ask(`blobs/${layer}`), await ask(`blobs/${config}`)]).toEqual([307, 307]);
    stack.current.clearSeen();
    expect([await ask(paths[0] ?? ""), await ask(paths[1] ?? "")]).toEqual([200, 307]);
    expect(seen(), "what pod-b's own proofs and copies answer").toEqual([]);
    await enter(group, "copy");
    for (const path of paths) expect(await ask(path, "DELETE")).toBe(202);
    await enter(group, "settle");
    for (const path of paths) expect([path, await ask(path)]).toEqual([path, 404]);
    // The repository's other blob was not deleted. Its proof is still good, so the registry is not asked.
    stack.current.clearSeen();
    expect(await ask(`blobs/${config}`)).toBe(307);
    expect(seen()).toEqual([]);
  });

  test("a proof of one Pod proves nothing for the other", async () => {
    const { group, repository, image } = await startGroup();
    const path = `/v2/${repository}/blobs/${image.blobs[1]}`;
    expect((await client().get(path, await tokenFor(repository))).status).toBe(307);
    await assign(group, { pod: "pod-b" });
    expect((await client().get(path, await tokenFor(repository))).status).toBe(307);
    expect(seen().map(({ method, path: asked }) => [method, asked])).toEqual([["HEAD", path]]);
  });

  test("a tag that is pushed during the move is pulled after it", async () => {
    const { group, repository, image } = await startGroup();
    await enter(group, "copy");
    expect((await putManifest(stack.current, repository, "late", image.text)).status).toBe(201);
    await assign(group, { pod: "pod-b" });
    const pulled = await client().get(`/v2/${repository}/manifests/late`, await tokenFor(repository));
    expect([pulled.status, await pulled.text(), await lastPod()]).toEqual([200, image.text, "pod-b"]);
  });
});
