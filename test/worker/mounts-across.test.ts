import { rename, rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { generateSealingKeys, seal } from "../../src/directory/seal.ts";
import { openOrder } from "../../src/pods/mount-order.ts";
import { createClient, layersOf, pushBlob, sha256 } from "../support/client.ts";
import { startOddPod } from "../support/odd-pod.ts";
import { rawClient } from "../support/raw-sockets.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";

const stack = useStack({ gateways: "fleet" });
const oras = "oras/1.3.4";

/** By default, the User-Agent is that of oras, whose uploads go to the edge and not to the gateway. */
async function mount(
  { name, digest, from = "globex/source" }: { readonly name: string; readonly digest: string; readonly from?: string },
  scopes: readonly string[] = [`repository:${from}:pull`],
  headers: Readonly<Record<string, string>> = { "User-Agent": oras },
) {
  const client = createClient(stack.current.edge);
  const repository = `acme/${name}`;
  // The gateway shows this token to the registry. Without the right to delete, the registry would not let the gateway remove an upload.
  const token = await client.token([`repository:${repository}:pull,push,delete`, ...scopes]);
  stack.current.clearSeen();
  const query = `mount=${digest}&from=${from}`;
  const answer = await client.get(`/v2/${repository}/blobs/uploads/?${query}`, token, { method: "POST", headers });
  return { client, token, repository, answer, status: answer.status };
}

type Mounted = Awaited<ReturnType<typeof mount>>;

async function lastLine() {
  await stack.current.edgeSettled();
  return stack.current.edgeSeen().at(-1);
}

async function expectPulled({ client, token, repository }: Mounted, text: string): Promise<void> {
  const digest = await sha256(new Uint8Array(Buffer.from(text)));
  const blob = await client.get(`/v2/${repository}/blobs/${digest}`, token);
  expect(blob.status).toBe(307);
  expect(await (await fetch(blob.headers.get("Location") ?? "")).text()).toBe(text);
}

/** Expects that an upload has begun, that the registry has no second one, and that the upload can be completed with the client's own bytes. */
async function expectOrdinaryUpload(mounted: Mounted, text: string): Promise<void> {
  const { client, token, repository, answer } = mounted;
  const location = answer.headers.get("Location") ?? "";
  expect([answer.status, location]).toEqual([202, expect.stringMatching(`^/v2/${repository}/blobs/uploads/.*_pod=`)]);
  const own = new URL(location, stack.current.edge).pathname;
  const bytes = new Uint8Array(Buffer.from(text));
  const digest = await sha256(bytes);
  expect((await client.get(`/v2/${repository}/blobs/${digest}`, token, { method: "HEAD" })).status).toBe(404);
  const begun = stack.current
    .seen("pod-a", "registry")
    .flatMap(({ path }) => /^[^?]*\/uploads\/[^?]+/.exec(path) ?? []);
  for (const upload of new Set(begun.filter((path) => path !== own))) {
    expect((await client.get(upload, token)).status).toBe(404);
  }
  const done = await client.get(`${location}&digest=${digest}`, token, { method: "PUT", body: bytes });
  expect(done.status).toBe(201);
  await expectPulled(mounted, text);
}

describe("mount from another Pod", () => {
  afterEach(async () => {
    for (const service of ["registry", "storage", "gateway"] as const) {
      await stack.current.setFault("pod-a", service, { mode: "none" });
      await stack.current.setFault("pod-b", service, { mode: "none" });
    }
  });

  test("it gets 201 like one within a Pod, and the blob goes from store to gateway to registry without the edge or the client", async () => {
    const text = "a layer that is mounted ".repeat(10_000);
    const digest = await pushBlob(stack.current, "globex/source", text);
    const mounted = await mount({ name: "mounted", digest });
    const { headers } = mounted.answer;
    expect([mounted.status, headers.get("Location"), headers.get("Docker-Content-Digest")]).toEqual([
      201,
      `/v2/acme/mounted/blobs/${digest}`,
      digest,
    ]);
    expect(await lastLine()).toMatchObject({ outcome: "mounted", pod: "pod-a", requestBytes: 0, responseBytes: 0 });
    expect(stack.current.edgeLines().join()).not.toContain("Signature");
    expect(stack.current.seen("pod-a", "gateway")).toMatchObject([
      { method: "POST", path: "/v2/acme/mounted/blobs/uploads/", status: 201, authorization: "none" },
    ]);
    expect(stack.current.seen("pod-b", "storage")).toMatchObject([
      { method: "GET", status: 200, authorization: "none", responseBytes: text.length },
    ]);
    expect(stack.current.seen("pod-b", "registry").filter(({ method }) => method !== "HEAD")).toEqual([]);
    expect(
      stack.current.seen("pod-a", "registry").map(({ method, status, requestBytes }) => [method, status, requestBytes]),
    ).toEqual([
      ["HEAD", 404, 0],
      ["POST", 202, 0],
      ["PATCH", 202, text.length],
      ["PUT", 201, 0],
    ]);
    const tokensOf = (pod: "pod-a" | "pod-b") =>
      stack.current.seen(pod, "registry").map(({ authorizationSha256 }) => authorizationSha256);
    expect(tokensOf("pod-a").filter((token) => tokensOf("pod-b").includes(token))).toEqual([]);
    await expectPulled(mounted, text);
  });

  test("a remembered proof is enough, so the source's registry is not asked again", async () => {
    const text = "a layer that is mounted twice";
    const digest = await pushBlob(stack.current, "globex/source", text);
    expect((await mount({ name: "first", digest })).status).toBe(201);
    expect((await mount({ name: "second", digest })).status).toBe(201);
    expect(stack.current.seen("pod-b", "registry")).toEqual([]);
  });

  test("a source that anyone may pull is mounted if the token names it", async () => {
    const [layer] = await layersOf(stack.current, "globex/hello");
    expect((await mount({ name: "public", digest: layer?.digest ?? "", from: "globex/hello" })).status).toBe(201);
  });

  test("a source under its old name is mounted, and neither Pod sees that name", async () => {
    const digest = await pushBlob(stack.current, "globex/source", "a layer of a renamed repository");
    await withRecord(
      "directory",
      (record) => ({ ...record, aliases: { "hooli/source": "globex/source" } }),
      async () => {
        expect((await mount({ name: "from-old", digest, from: "hooli/source" })).status).toBe(201);
        const seen = [...stack.current.seen("pod-a", "registry"), ...stack.current.seen("pod-b", "registry")];
        expect(seen.map(({ path }) => path).join()).not.toContain("hooli");
      },
    );
  });

  test("a source in a group that the client may not use is not mounted", async () => {
    const text = "a layer for the office";
    const digest = await pushBlob(stack.current, "globex/source", text);
    const outside = { "User-Agent": oras, "CF-Connecting-IP": "198.51.100.7" };
    await withRecord(
      "route/globex",
      (record) => ({ ...record, clients: { allow: [{ cidrs: ["192.0.2.0/24"] }] } }),
      async () => {
        const mounted = await mount({ name: "outside", digest }, ["repository:globex/source:pull"], outside);
        expect(await lastLine()).toMatchObject({
          notMounted: "the source: this repository may not be used from your network",
        });
        await expectOrdinaryUpload(mounted, text);
        expect(stack.current.seen("pod-b", "storage")).toEqual([]);
      },
    );
  });

  test("a source in a read-only Pod is mounted", async () => {
    const digest = await pushBlob(stack.current, "globex/source", "a layer of a read-only Pod");
    await withRecord(
      "pod/pod-b",
      (record) => ({ ...record, state: "read-only" }),
      async () => {
        expect((await mount({ name: "from-read-only", digest })).status).toBe(201);
      },
    );
  });

  test.each([
    ["does not name the source", []],
    ["may only push to the source", ["repository:globex/source:push"]],
    ["may pull another repository", ["repository:globex/other:pull"]],
  ])("if the token %s, an upload begins, and neither the source nor the gateway is asked", async (why, scopes) => {
    const text = `a layer and a token that ${why}`;
    const digest = await pushBlob(stack.current, "globex/source", text);
    const mounted = await mount({ name: "no-right", digest }, scopes);
    expect(await lastLine()).toMatchObject({
      outcome: "forwarded",
      notMounted: "the token does not allow a pull of the source",
      podRequests: 1,
    });
    for (const service of ["registry", "storage"] as const) expect(stack.current.seen("pod-b", service)).toEqual([]);
    await expectOrdinaryUpload(mounted, text);
  });

  test("a blob that only another repository of the source's Pod has is not mounted", async () => {
    const text = "a layer of one repository only";
    const digest = await pushBlob(stack.current, "globex/elsewhere", text);
    const mounted = await mount({ name: "not-there", digest });
    expect(await lastLine()).toMatchObject({ notMounted: "the source does not have the blob" });
    expect(stack.current.seen("pod-b", "storage")).toEqual([]);
    await expectOrdinaryUpload(mounted, text);
  });

  test.each([
    ["a blocked prefix", () => "globex/source"],
    ["a blocked digest", (digest: string) => digest],
  ])("%s is not mounted", async (what, blockedBy) => {
    const text = `a layer of ${what}`;
    const digest = await pushBlob(stack.current, "globex/source", text);
    const blocks = { v: 1, revision: 2, blocks: { [blockedBy(digest)]: "removed" } };
    await stack.current.putKv("blocks", JSON.stringify(blocks));
    await stack.current.restartEdge();
    try {
      expect((await mount({ name: "of-blocked", digest })).status).toBe(202);
      expect(await lastLine()).toMatchObject({ notMounted: "the source: removed" });
      expect(stack.current.seen("pod-b", "storage")).toEqual([]);
    } finally {
      await stack.current.deleteKv("blocks");
      await stack.current.restartEdge();
    }
  });

  test("a source in a Pod that is down is not mounted", async () => {
    const digest = await pushBlob(stack.current, "globex/source", "a layer of a Pod that is down");
    await withRecord(
      "pod/pod-b",
      (record) => ({ ...record, state: "down" }),
      async () => {
        expect((await mount({ name: "from-down", digest })).status).toBe(202);
        expect(stack.current.seen("pod-b", "storage")).toEqual([]);
      },
    );
  });

  test.each([
    ["the source's store has lost the blob", "pod-b", "storage", { mode: "status", status: 404 }],
    ["the source's store cuts the copy in the middle", "pod-b", "storage", { mode: "reset" }],
    ["the gateway refuses connections", "pod-a", "gateway", { mode: "refuse" }],
    ["a proxy answers for the gateway", "pod-a", "gateway", { mode: "status", status: 502 }],
  ] as const)("if %s, an upload begins and nothing else is left", async (what, pod, service, fault) => {
    const text = `a layer: ${what}`;
    const digest = await pushBlob(stack.current, "globex/source", text);
    await stack.current.setFault(pod, service, fault);
    const mounted = await mount({ name: "failed", digest });
    expect(await lastLine()).toMatchObject({
      outcome: "forwarded",
      notMounted: expect.stringContaining("the gateway"),
    });
    await stack.current.setFault(pod, service, { mode: "none" });
    await expectOrdinaryUpload(mounted, text);
  });

  test("if the target's storage takes no more bytes, an upload begins and nothing else is left", async () => {
    const text = "a layer that does not fit";
    const digest = await pushBlob(stack.current, "globex/source", text);
    const storage = `${stack.current.stateDir}/pods/pod-a/storage`;
    await rename(storage, `${storage}-full`);
    await writeFile(storage, "");
    const mounted = await mount({ name: "full", digest });
    await rm(storage);
    await rename(`${storage}-full`, storage);
    expect(await lastLine()).toMatchObject({
      notMounted: "the gateway answered 409: the registry answered 500 to the blob's digest",
    });
    await expectOrdinaryUpload(mounted, text);
  });

  test("a gateway that does not answer three orders is not asked again for a while, and mounts when it is back", async () => {
    await stack.current.restartEdge();
    const digest = await pushBlob(stack.current, "globex/source", "a layer for a dead gateway");
    await stack.current.setFault("pod-a", "gateway", { mode: "status", status: 503 });
    const orders: number[] = [];
    for (let time = 0; time < 6; time += 1) {
      expect((await mount({ name: "dead", digest })).status).toBe(202);
      orders.push(stack.current.seen("pod-a", "gateway").filter(({ method }) => method === "POST").length);
    }
    expect(orders).toEqual([1, 1, 1, 0, 0, 0]);
    await stack.current.setFault("pod-a", "gateway", { mode: "none" });
    await expect.poll(async () => (await mount({ name: "dead", digest })).status, { timeout: 20_000 }).toBe(201);
  });

  test("no order is sent while the target's registry counts as down", async () => {
    await stack.current.restartEdge();
    const digest = await pushBlob(stack.current, "globex/source", "a layer for a dead registry");
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/hello:pull"]);
    await stack.current.setFault("pod-a", "registry", { mode: "refuse" });
    for (let time = 0; time < 4; time += 1) await client.get("/v2/acme/hello/tags/list", token);
    expect((await mount({ name: "down", digest })).status).toBe(503);
    expect(stack.current.seen("pod-a", "gateway")).toEqual([]);
    await stack.current.restartEdge();
  });
});

describe("mount from another Pod, with a user's rights at two Pods", () => {
  test("a token's user at the source is not the user of the log line", async () => {
    const digest = await pushBlob(stack.current, "globex/source", "a layer of another user");
    const client = createClient(stack.current.edge);
    const own = await client.token(["repository:acme/users:pull,push"]);
    const other = await client.token(["repository:globex/source:pull"], "reader");
    const token = `${own}~${other.replace("pods.v1.", "")}`;
    const path = `/v2/acme/users/blobs/uploads/?mount=${digest}&from=globex/source`;
    expect((await client.get(path, token, { method: "POST", headers: { "User-Agent": oras } })).status).toBe(201);
    expect(await lastLine()).toMatchObject({ outcome: "mounted", subject: "demo" });
  });
});

describe("mount from another Pod, by an odd gateway", async () => {
  const gateway = await startOddPod();
  const sealingKeys = await generateSealingKeys();
  const bound = { pod: "pod-a", field: "gateway.key", scheme: "gateway", target: gateway.url };
  const secret = Buffer.alloc(32, 7);
  const key = await seal(secret.toString("base64"), bound, sealingKeys.publicJwk);
  const odd = useStack({
    sealingKeys,
    topology: (text) => text.replace(`\${POD_A_GATEWAY}`, JSON.stringify({ url: gateway.url, key })),
  });

  async function begin(name: string) {
    const { edge } = odd.current;
    const digest = await pushBlob(odd.current, "globex/source", `a layer for ${name}`);
    const client = createClient(edge);
    const token = await client.token([`repository:acme/${name}:pull,push`, "repository:globex/source:pull"]);
    return { client, token, path: `/v2/acme/${name}/blobs/uploads/?mount=${digest}&from=globex/source` };
  }

  test.each([
    ['{"errors":5}', "the gateway answered 409"],
    ['{"errors":{}}', "the gateway answered 409"],
    ['{"errors":[null]}', "the gateway answered 409"],
    ['{"errors":[{"message":5}]}', "the gateway answered 409"],
    ["[]", "the gateway answered 409"],
    ['{"errors":[{"message":"no room\\u001b[2J\\u202e"}]}', "the gateway answered 409: no room\ufffd[2J\ufffd"],
    ['{"errors":[{"message":"see https://evil.test/?X-Amz-Signature=1"}]}', "the gateway answered 409"],
  ])(
    "if it answers %s, an upload begins, and the log line has no more of the answer than plain text",
    async (body, notMounted) => {
      gateway.answer((response) => void response.writeHead(409).end(body));
      const { client, token, path } = await begin("odd");
      const answer = await client.get(path, token, { method: "POST", headers: { "User-Agent": oras } });
      expect(answer.status).toBe(202);
      expect(gateway.seen.filter(({ method }) => method === "POST")).toHaveLength(1);
      await odd.current.edgeSettled();
      expect(odd.current.edgeSeen().at(-1)).toMatchObject({ outcome: "forwarded", notMounted });
    },
  );

  /** Returns the time that the edge allows for the copy, after the source has taken `proofMs` for its proof. */
  async function copyMsFor(userAgent: string, proofMs: number) {
    gateway.answer((response) => void response.writeHead(409).end("{}"));
    const { client, token, path } = await begin("slow");
    await odd.current.restartEdge();
    if (proofMs > 0) await odd.current.setFault("pod-b", "registry", { mode: "delay", ms: proofMs });
    await client.get(path, token, { method: "POST", headers: { "User-Agent": userAgent } });
    await odd.current.setFault("pod-b", "registry", { mode: "none" });
    const order = await openOrder(gateway.seen.at(-1)?.body ?? "", { keys: [secret], now: new Date() });
    return order.ok ? order.value.copyMs : order.error;
  }

  test.each([
    ["containerd", "containerd/2.3.0"],
    [
      "docker with the containerd store",
      "docker/29.7.2 go/go1.26.3 git-commit/0123456 kernel/6.8.0 os/linux arch/amd64 containerd-client/2.3.4 storage-driver/overlayfs UpstreamClient(Docker-Client/29.7.2 \\(linux\\))",
    ],
    ["BuildKit", "buildkit/v0.32"],
  ])("%s waits only 30 s for an answer, so a copy for it ends within 20 s", async (_, userAgent) => {
    const copyMs = await copyMsFor(userAgent, 0);
    expect(copyMs).toBeLessThanOrEqual(20_000);
    expect(copyMs).toBeGreaterThan(18_000);
  });

  test("what the proof at a slow source has taken is not left for the copy, because containerd waits 30 s in all", async () => {
    expect(await copyMsFor("containerd/2.3.0", 4_000)).toBeLessThanOrEqual(16_000);
  });

  test("if the client leaves, the order is broken off", async () => {
    const [came, closed] = [Promise.withResolvers<void>(), Promise.withResolvers<string>()];
    gateway.answer((response) => {
      response.once("close", () => closed.resolve("closed"));
      came.resolve();
    });
    const { token, path } = await begin("left");
    const { edge } = odd.current;
    const client = await rawClient(edge);
    const headers = [`Host: ${new URL(edge).host}`, `Authorization: Bearer ${token}`, "Content-Length: 0"];
    client.send(`${[`POST ${path} HTTP/1.1`, ...headers].join("\r\n")}\r\n\r\n`);
    await came.promise;
    client.socket.resetAndDestroy();
    expect(await Promise.race([closed.promise, sleep(5_000, "still open")])).toBe("closed");
  });
});

async function withRecord(key: string, change: (record: object) => object, act: () => Promise<void>): Promise<void> {
  const text = (await readStackKv(stack.current, [key])).get(key) ?? "";
  await stack.current.putKv(key, JSON.stringify(change(JSON.parse(text) as object)));
  await stack.current.restartEdge();
  try {
    await act();
  } finally {
    await stack.current.putKv(key, text);
    await stack.current.restartEdge();
  }
}
