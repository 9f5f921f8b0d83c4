import { describe, expect, test } from "vitest";
import type { Moving } from "../../src/directory/moves.ts";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import { createClient, pushBlob, sha256 } from "../support/client.ts";
import { manifestType, pushImage, putManifest } from "../support/image.ts";
import { keepManifest } from "../support/pull.ts";
import { endFault, readStackKv, useStack } from "../support/toy-stack.ts";
import { podIds, useGroups } from "../support/use-groups.ts";

const stack = useStack({ seedImages: false });
const { write, assign, enter, startGroup, askedPods, deleteButNotAtPodA } = useGroups(stack);
type Phase = Moving["phase"];

const client = () => createClient(stack.current.edge);
const tokenFor = (repository: string, actions = "pull") => client().token([`repository:${repository}:${actions}`]);
const refusal = (group: string) => ({
  errors: [
    {
      code: "DENIED",
      message: `${group} is being moved to another registry; pushes work again in a few minutes`,
    },
  ],
});

describe("group that is being moved", () => {
  test.each<[Phase, LocalPodId, LocalPodId | "no Pod"]>([
    ["copy", "pod-a", "pod-a"],
    ["freeze", "pod-a", "no Pod"],
    ["switch", "pod-b", "no Pod"],
    ["settle", "pod-b", "pod-b"],
  ])("during %s only %s is read, and %s is written to", async (phase, read, written) => {
    const { group, repository } = await startGroup("pod-a", "pod-b");
    await enter(group, phase);
    const pulled = await client().get(`/v2/${repository}/manifests/1`, await tokenFor(repository));
    expect(pulled.status).toBe(200);
    expect(askedPods()).toEqual([read]);
    stack.current.clearSeen();
    const token = await tokenFor(repository, "pull,push,delete");
    const started = await client().get(`/v2/${repository}/blobs/uploads/`, token, { method: "POST" });
    const headers = { "Content-Type": manifestType };
    const put = await client().get(`/v2/${repository}/manifests/2`, token, { method: "PUT", body: "{}", headers });
    const deleted = await client().get(`/v2/${repository}/manifests/3`, token, { method: "DELETE" });
    if (written === "no Pod") {
      for (const answer of [started, put, deleted]) {
        expect(answer.status).toBe(403);
        expect(await answer.json()).toEqual(refusal(group));
      }
      expect(askedPods()).toEqual([]);
    } else {
      expect([started.status, put.status, deleted.status]).toEqual([202, 400, 404]);
      expect(askedPods()).toEqual([written]);
    }
  });

  test("a tag that was pushed to the new Pod is not served in its old state, if the group goes back and the old Pod fails", async () => {
    const { group, repository, image } = await startGroup("pod-a", "pod-b");
    await assign(group, { pod: "pod-b" });
    const next = await pushImage(stack.current, repository, 2);
    await assign(group, { pod: "pod-a" });
    await keepManifest(stack.current, repository, image.digest);
    const token = () => tokenFor(repository, "pull");
    const pull = async () => client().get(`/v2/${repository}/manifests/1`, await token());
    expect((await pull()).headers.get("Docker-Content-Digest")).toBe(image.digest);
    const continueAt = async (members: object) => {
      await write(group, members);
      await stack.current.restartEdge("kept");
    };
    const since = new Date().toISOString();
    await continueAt({ pod: "pod-a", move: { to: "pod-b", phase: "settle", since } });
    expect((await putManifest(stack.current, repository, "1", next.text)).status).toBe(201);
    await continueAt({ pod: "pod-a" });
    await stack.current.setFault("pod-a", "registry", { mode: "status", status: 503 });
    try {
      stack.current.clearSeen();
      const pulled = await pull();
      expect([pulled.status, pulled.headers.get("Warning")]).toEqual([503, null]);
      expect(askedPods()).toEqual(["pod-a"]);
      expect(stack.current.seen("pod-a", "storage")).toEqual([]);
    } finally {
      await endFault(stack.current, "pod-a");
    }
  });

  test("an upload that has begun ends at the old Pod, and one that begins during the freeze is refused", async () => {
    const { group, repository } = await startGroup("pod-a");
    await enter(group, "copy");
    const begun = await client().get(`/v2/${repository}/blobs/uploads/`, await tokenFor(repository, "pull,push"), {
      method: "POST",
    });
    const location = begun.headers.get("Location") ?? "";
    const body = new Uint8Array(Buffer.from("late"));
    const digest = await sha256(body);
    await enter(group, "freeze");
    const token = await tokenFor(repository, "pull,push");
    const patched = await client().get(location, token, { method: "PATCH", body });
    expect(patched.status).toBe(202);
    await enter(group, "switch");
    const done = await client().get(`${patched.headers.get("Location")}&digest=${digest}`, token, { method: "PUT" });
    expect(done.status).toBe(201);
    expect(askedPods()).toEqual(["pod-a"]);
    const late = await client().get(`/v2/${repository}/blobs/uploads/`, token, { method: "POST" });
    expect(late.status).toBe(403);
    expect(stack.current.seen("pod-b", "registry")).toEqual([]);
  });

  test.each([
    ["`podctl assign`", null],
    ["`podctl move --done`", "settle"],
  ] as const)(
    "an upload that lasts beyond %s gets 404 with a new token, so that clients begin it again",
    async (_, phase) => {
      const { group, repository } = await startGroup("pod-a");
      await assign(group, { pod: "pod-a" });
      const pushToken = () => tokenFor(repository, "pull,push");
      const older = await pushToken();
      const begun = await client().get(`/v2/${repository}/blobs/uploads/`, older, { method: "POST" });
      const body = new Uint8Array(Buffer.from("long"));
      const patched = await client().get(begun.headers.get("Location") ?? "", older, { method: "PATCH", body });
      expect(patched.status).toBe(202);
      const digest = await sha256(body);
      const closing = `${patched.headers.get("Location")}&digest=${digest}`;
      if (phase !== null) await enter(group, phase);
      await assign(group, { pod: "pod-b" });
      const close = async (token: string) => {
        const answer = await client().get(closing, token, { method: "PUT" });
        return [answer.status, answer.headers.get("WWW-Authenticate"), await answer.json()];
      };
      const unknown = { errors: [{ code: "BLOB_UPLOAD_UNKNOWN", message: expect.any(String) }] };
      expect(await close(await pushToken())).toMatchObject([404, null, unknown]);
      for (const token of [await tokenFor(repository), await tokenFor("acme/other", "pull,push")]) {
        expect(await close(token)).toMatchObject([401, expect.stringContaining('error="insufficient_scope"'), {}]);
      }
      expect([askedPods(), stack.current.seen("pod-a", "storage")]).toEqual([[], []]);
      expect(await pushBlob(stack.current, repository, "long")).toBe(digest);
      expect(askedPods()).toEqual(["pod-b"]);
    },
  );

  test.each<Phase>(["copy", "freeze", "switch", "settle"])("a token covers both Pods during %s", async (phase) => {
    const { group, repository } = await startGroup("pod-a");
    await enter(group, phase);
    const token = await tokenFor(repository, "pull,push");
    const [serving, other] = phase === "copy" || phase === "freeze" ? podIds : podIds.toReversed();
    const pods = token.replace("pods.v1.", "").split("~");
    expect(pods.map((part) => part.split("/")[0])).toEqual([serving, other]);
    for (const pod of podIds) {
      expect(stack.current.seen(pod, "token").map(({ path }) => decodeURIComponent(path))).toEqual([
        expect.stringContaining(`repository:${repository}:pull,push`),
      ]);
    }
  });

  test.each<[string, LocalPodId, number, number]>([
    ["refuses", "pod-b", 403, 200],
    ["fails", "pod-b", 503, 200],
    ["refuses", "pod-a", 403, 403],
    ["fails", "pod-a", 503, 503],
  ])(
    "if the token service %s at %s (%d), a pusher's token request gets %d, because the Pod that serves decides",
    async (_, pod, status, expected) => {
      const { group, repository } = await startGroup("pod-a");
      await enter(group, "copy");
      await stack.current.setFault(pod, "token", { mode: "status", status });
      try {
        const query = `service=registry-edge&scope=repository:${repository}:pull,push`;
        const headers = { Authorization: `Basic ${btoa("demo:demo")}` };
        const answer = await fetch(`${stack.current.edge}/jwt/auth?${query}`, { headers });
        expect(answer.status).toBe(expected);
        if (expected !== 200) return;
        const { token, expires_in } = (await answer.json()) as { token: string; expires_in: number };
        expect(token).toMatch(/^pods\.v1\.pod-a\/[^~]+$/);
        expect(expires_in <= 60).toBe(status === 503);
      } finally {
        await stack.current.setFault(pod, "token", { mode: "none" });
      }
    },
  );
});

describe("what only the other Pod has", () => {
  const get = async (path: string, repository: string, init: RequestInit = {}) =>
    client().get(path, await tokenFor(repository), init as object);

  test.each<[Phase, number, number]>([
    ["copy", 200, 200],
    ["freeze", 200, 200],
    ["switch", 200, 200],
    ["settle", 200, 404],
  ])("an image that only the old Pod has: during %s its digest gets %d and its tag %d", async (phase, digest, tag) => {
    const { group, repository, image } = await startGroup("pod-a");
    await enter(group, phase);
    for (const method of ["HEAD", "GET"]) {
      const byDigest = await get(`/v2/${repository}/manifests/${image.digest}`, repository, { method });
      expect(byDigest.status).toBe(digest);
      if (method === "GET") expect(await byDigest.text()).toBe(image.text);
      expect((await get(`/v2/${repository}/manifests/1`, repository, { method })).status).toBe(tag);
    }
    for (const blob of image.blobs) {
      const redirected = await get(`/v2/${repository}/blobs/${blob}`, repository);
      expect(redirected.status).toBe(307);
      const bytes = new Uint8Array(await (await fetch(redirected.headers.get("Location") ?? "")).arrayBuffer());
      expect(await sha256(bytes)).toBe(blob);
    }
    expect(stack.current.seen("pod-a", "storage").map(({ status }) => status)).toEqual(image.blobs.map(() => 200));
    expect(stack.current.seen("pod-b", "storage")).toEqual([]);
  });

  test.each<Phase>(["copy", "freeze"])(
    "an image that only the new Pod has is not there during %s, because a client may have deleted it at the old Pod",
    async (phase) => {
      const { group, repository, image } = await startGroup("pod-b");
      await enter(group, phase);
      for (const path of [`manifests/${image.digest}`, "manifests/1", `blobs/${image.blobs[0]}`]) {
        expect((await get(`/v2/${repository}/${path}`, repository)).status).toBe(404);
      }
      expect(askedPods()).toEqual(["pod-a"]);
      expect(stack.current.seen("pod-b", "storage")).toEqual([]);
    },
  );

  test("in the freeze of a move back, an image that only the other Pod has is there by its digest", async () => {
    const { group, repository, image } = await startGroup("pod-b");
    await enter(group, "return");
    expect((await get(`/v2/${repository}/manifests/1`, repository)).status).toBe(404);
    expect(askedPods()).toEqual(["pod-a"]);
    expect((await get(`/v2/${repository}/manifests/${image.digest}`, repository)).status).toBe(200);
    expect(askedPods()).toEqual(["pod-a", "pod-b"]);
    const token = await tokenFor(repository, "pull,push");
    const started = await client().get(`/v2/${repository}/blobs/uploads/`, token, { method: "POST" });
    expect(await started.json()).toEqual(refusal(group));
  });

  test("a pusher's HEAD does not find it, so that the pusher uploads it to the new Pod", async () => {
    const { group, repository, image } = await startGroup("pod-a");
    await enter(group, "settle");
    const token = await tokenFor(repository, "pull,push");
    for (const path of [`manifests/${image.digest}`, `blobs/${image.blobs[0]}`]) {
      expect((await client().get(`/v2/${repository}/${path}`, token, { method: "HEAD" })).status).toBe(404);
    }
    expect(askedPods()).toEqual(["pod-b"]);
    expect((await client().get(`/v2/${repository}/manifests/${image.digest}`, token)).status).toBe(200);
  });

  test("a HEAD of a blob does not find it even with a token for pulls only, because regctl sends such a HEAD before it uploads", async () => {
    const { group, repository, image } = await startGroup("pod-a");
    await enter(group, "settle");
    const path = `/v2/${repository}/blobs/${image.blobs[0]}`;
    expect((await get(path, repository, { method: "HEAD" })).status).toBe(404);
    expect(askedPods()).toEqual(["pod-b"]);
    expect((await get(path, repository)).status).toBe(307);
  });

  test("it gets a tag only if its blobs are pushed to the new Pod, as by a copy", async () => {
    const { group, repository, image } = await startGroup("pod-a");
    await enter(group, "settle");
    const token = await tokenFor(repository, "pull,push");
    const { text: body } = image;
    const headers = { "Content-Type": manifestType };
    const tag = () => client().get(`/v2/${repository}/manifests/rollback`, token, { method: "PUT", body, headers });
    const refused = await tag();
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining("MANIFEST_BLOB_UNKNOWN")]);
    for (const digest of image.blobs) {
      const pulled = await client().get(`/v2/${repository}/blobs/${digest}`, token, { redirect: "follow" });
      expect(await pushBlob(stack.current, repository, await pulled.text())).toBe(digest);
    }
    expect((await tag()).status).toBe(201);
  });

  test("a token that the old Pod did not give finds nothing there", async () => {
    const { group, repository, image } = await startGroup("pod-a");
    await enter(group, "settle");
    await stack.current.setFault("pod-a", "token", { mode: "status", status: 403 });
    try {
      expect((await get(`/v2/${repository}/manifests/${image.digest}`, repository)).status).toBe(404);
    } finally {
      await stack.current.setFault("pod-a", "token", { mode: "none" });
    }
    expect(askedPods()).toEqual(["pod-b"]);
  });

  test.each([
    ["says that it is down", (record: string) => record.replace('"state":"active"', '"state":"down"')],
    ["cannot be read", () => "{}"],
  ])("while the old Pod's record %s, what may be there gets 503, and the Pod is not called", async (_, change) => {
    const { group, repository, image } = await startGroup("pod-a");
    await enter(group, "settle");
    const [token, pushing] = [await tokenFor(repository), await tokenFor(repository, "pull,push")];
    const key = "pod/pod-a";
    const record = (await readStackKv(stack.current, [key])).get(key) ?? "";
    await stack.current.putKv(key, change(record));
    await stack.current.restartEdge("kept");
    stack.current.clearSeen();
    try {
      for (const path of [`manifests/${image.digest}`, `blobs/${image.blobs[0]}`]) {
        const answer = await client().get(`/v2/${repository}/${path}`, token);
        expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
        expect((await client().get(`/v2/${repository}/${path}`, pushing, { method: "HEAD" })).status).toBe(404);
      }
      expect((await client().get(`/v2/${repository}/manifests/1`, token)).status).toBe(404);
      expect(askedPods()).toEqual(["pod-b"]);
      expect(stack.current.seen("pod-a", "storage")).toEqual([]);
    } finally {
      await stack.current.putKv(key, record);
      await stack.current.restartEdge("kept");
    }
  });
});

describe("deletion after the cutover", () => {
  test("it reaches both Pods, so what was deleted does not come back at any edge", async () => {
    const { group, repository, image } = await startGroup("pod-a", "pod-b");
    await enter(group, "settle");
    const token = await tokenFor(repository, "pull,delete");
    const [blob] = image.blobs;
    for (const path of [`manifests/${image.digest}`, `blobs/${blob}`]) {
      const deleted = await client().get(`/v2/${repository}/${path}`, token, { method: "DELETE" });
      expect(deleted.status).toBe(202);
      for (const pod of podIds) {
        const seen = stack.current.seen(pod, "registry").filter(({ method }) => method === "DELETE");
        expect(seen.at(-1)).toMatchObject({ path: `/v2/${repository}/${path}`, status: 202 });
      }
      expect((await client().get(`/v2/${repository}/${path}`, token)).status).toBe(404);
    }
    // A restart clears the memory of the edge, so these answers come from the Pods.
    await stack.current.restartEdge();
    for (const path of [`manifests/${image.digest}`, "manifests/1", `blobs/${blob}`]) {
      expect((await client().get(`/v2/${repository}/${path}`, token)).status).toBe(404);
    }
  });

  test("a DELETE that has a body reaches both Pods without the body", async () => {
    const { group, repository, image } = await startGroup("pod-a", "pod-b");
    await enter(group, "settle");
    const token = await tokenFor(repository, "pull,delete");
    const path = `/v2/${repository}/manifests/${image.digest}`;
    expect((await client().get(path, token, { method: "DELETE", body: "x" })).status).toBe(202);
    for (const pod of podIds) {
      const seen = stack.current.seen(pod, "registry").filter(({ method }) => method === "DELETE");
      expect(seen).toMatchObject([{ path, status: 202, requestBytes: 0 }]);
    }
  });

  test("what only the old Pod had is deleted there, and the client gets that Pod's answer", async () => {
    const { group, repository, image } = await startGroup("pod-a");
    await enter(group, "settle");
    const token = await tokenFor(repository, "pull,delete");
    const path = `/v2/${repository}/manifests/${image.digest}`;
    expect((await client().get(path, token, { method: "DELETE" })).status).toBe(202);
    expect((await client().get(path, token)).status).toBe(404);
    expect((await client().get(path, token, { method: "DELETE" })).status).toBe(404);
  });

  test("if the old Pod does not delete, a tombstone keeps the manifest from coming back", async () => {
    const { group, repository, image } = await startGroup("pod-a", "pod-b");
    await enter(group, "settle");
    const path = `/v2/${repository}/manifests/${image.digest}`;
    const token = await tokenFor(repository, "pull,delete");
    expect(await deleteButNotAtPodA(path, token)).toBe(202);
    stack.current.clearSeen();
    expect((await client().get(path, token)).status).toBe(404);
    expect(askedPods()).toEqual(["pod-b"]);
  });

  test("a token's user at the other Pod is not the user of the log line", async () => {
    const { group, repository, image } = await startGroup("pod-a");
    await enter(group, "settle");
    const scopes = [`repository:${repository}:pull`];
    const [own, other] = [await client().token(scopes), await client().token(scopes, "reader")];
    const parts = (token: string, pod: LocalPodId) =>
      token
        .replace("pods.v1.", "")
        .split("~")
        .filter((part) => part.startsWith(`${pod}/`));
    const token = `pods.v1.${[...parts(own, "pod-b"), ...parts(other, "pod-a")].join("~")}`;
    stack.current.clearSeen();
    expect((await client().get(`/v2/${repository}/manifests/${image.digest}`, token)).status).toBe(200);
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({ subject: "demo", status: 200, pod: "pod-a" });
  });
});
