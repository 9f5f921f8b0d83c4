import { setTimeout as sleep } from "node:timers/promises";
import { generateKeyPair, SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import type { Stack } from "../../src/local/stack.ts";
import { createClient, sha256 } from "../support/client.ts";
import { manifestText, manifestType, pushImage, putManifest } from "../support/image.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { keepManifest, pullerOf, seenOf } from "../support/pull.ts";
import { exchangeRaw } from "../support/raw-exchange.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack({
  seedImages: false,
  topology: (text) => text.replace("assignments:\n", "assignments:\n  initech: pod-a\n"),
});
const edge = () => createClient(stack.current.edge);
const tokenFor = (repository: string, actions = "pull") => edge().token([`repository:${repository}:${actions}`]);
const registrySaw = (pod: "pod-a" | "pod-b" = "pod-a") =>
  stack.current.seen(pod, "registry").map(({ method, path }) => `${method} ${path}`);
const jwtOf = (bundle: string): string => bundle.split("/").slice(1).join("/");

async function setUp(repository: string, layers = 1) {
  const image = await pushImage(stack.current, repository, layers);
  await keepManifest(stack.current, repository, image.digest);
  const token = await tokenFor(repository, "pull,delete");
  return { ...image, token, ask: pullerOf(stack.current, repository, token), path: `manifests/${image.digest}` };
}

describe("warm pull", () => {
  test.each(["by the same isolate", "by another isolate of the location"])(
    "for an image of 10 layers %s, the registry gets only one request, for the tag",
    async (by) => {
      const repository = `acme/warm-${by.includes("another") ? 2 : 1}`;
      const { ask, path, blobs } = await setUp(repository, 10);
      if (by.includes("another")) await stack.current.restartEdge("kept");
      stack.current.clearSeen();
      const asked = ["manifests/1", path, ...blobs.map((digest) => `blobs/${digest}`)];
      const statuses: number[] = [];
      for (const each of asked) statuses.push((await ask(each)).status);
      expect(statuses).toEqual([200, 200, ...Array(11).fill(307)]);
      expect(registrySaw()).toEqual([`GET /v2/${repository}/manifests/1`]);
      await stack.current.edgeSettled();
      expect(stack.current.edgeSeen().map(({ outcome }) => outcome)).toEqual([
        "forwarded",
        "kept",
        ...Array(11).fill("redirected"),
      ]);
    },
  );

  test("a tag is asked for at the Pod each time, so a tag that moves at the Pod moves at once", async () => {
    const { ask, blobs } = await setUp("acme/moving");
    const token = await tokenFor("acme/moving", "pull,push");
    const moved = manifestText([...blobs].reverse());
    const atPod = createClient(stack.current.pods["pod-a"].registry.direct);
    const init = { method: "PUT", body: moved, headers: { "Content-Type": manifestType } };
    expect((await atPod.get("/v2/acme/moving/manifests/1", jwtOf(token), init)).status).toBe(201);
    expect((await ask("manifests/1")).text).toBe(moved);
  });
});

describe("kept manifest", () => {
  test("the answer has the status, the body and the headers of the Pod's own answer", async () => {
    const { token, ask, path, text } = await setUp("acme/same");
    const own = await ask(path);
    expect(registrySaw()).toEqual([]);
    const atPod = createClient(stack.current.pods["pod-a"].registry.direct);
    const direct = await seenOf(await atPod.get(`/v2/acme/same/${path}`, jwtOf(token)));
    const forwarded = await ask(path, { headers: { "Cache-Control": "no-cache" } });
    expect(registrySaw()).toEqual([`GET /v2/acme/same/${path}`]);
    expect(own).toEqual(forwarded);
    expect(own).toMatchObject(direct);
    expect(own).toMatchObject({
      text,
      headers: { "content-length": String(text.length), etag: expect.stringContaining("sha256:") },
    });
  });

  test.each([
    ["names another type", "application/vnd.docker.distribution.manifest.v2+json", 404],
    // Like distribution, the toy registry ignores the weight `q`, so it sends the manifest.
    ["names its type only to refuse it", `${manifestType};q=0`, 200],
    ["names only a wildcard", "*/*", 404],
    ["is empty", "", 404],
  ])("the Pod answers a client whose Accept %s", async (_, accept, status) => {
    const { ask, path } = await setUp("acme/accept");
    const answer = await ask(path, { headers: { Accept: accept } });
    expect([answer.status, registrySaw()]).toEqual([status, [`GET /v2/acme/accept/${path}`]]);
    // The manifest is still kept for other clients.
    stack.current.clearSeen();
    expect([(await ask(path)).status, registrySaw()]).toEqual([200, []]);
  });

  test.each([
    ["If-None-Match", 304],
    ["Range", 200],
    ["Cache-Control", 200],
  ])("the Pod answers a request with %s", async (name, status) => {
    const { ask, path, digest } = await setUp("acme/conditional");
    const value = { "If-None-Match": `"${digest}"`, Range: "bytes=0-1", "Cache-Control": "no-cache" }[name] ?? "";
    expect((await ask(path, { headers: { [name]: value } })).status).toBe(status);
    expect(registrySaw()).toEqual([`GET /v2/acme/conditional/${path}`]);
  });

  test("the Pod answers a request with a query, and nothing that passes with one is kept", async () => {
    const { digest } = await pushImage(stack.current, "acme/query", 1);
    const ask = pullerOf(stack.current, "acme/query", await tokenFor("acme/query"));
    for (let time = 0; time < 3; time += 1) {
      expect((await ask(`manifests/${digest}?ns=docker.io`)).status).toBe(200);
      await stack.current.edgeSettled();
    }
    stack.current.clearSeen();
    expect((await ask(`manifests/${digest}`)).status).toBe(200);
    expect(registrySaw()).toEqual([`GET /v2/acme/query/manifests/${digest}`]);
    await keepManifest(stack.current, "acme/query", digest);
    expect((await ask(`manifests/${digest}?ns=docker.io`)).status).toBe(200);
    expect(registrySaw()).toEqual([`GET /v2/acme/query/manifests/${digest}?ns=docker.io`]);
  });

  test("it is served only in its own repository, to a token for that repository", async () => {
    const { digest, path } = await setUp("acme/owner");
    const others = ["acme/other", "acme/owner/below", "globex/owner"];
    for (const other of others) {
      const answer = await pullerOf(stack.current, other, await tokenFor(other))(path);
      expect([other, answer.status]).toEqual([other, 404]);
    }
    for (const token of [null, await tokenFor("acme/other"), await tokenFor("acme/owner", "delete")]) {
      expect((await pullerOf(stack.current, "acme/owner", token)(path)).status).toBe(401);
    }
    // The Pod's 404 was for another repository, so the edge still has the manifest of this one.
    stack.current.clearSeen();
    const own = pullerOf(stack.current, "acme/owner", await tokenFor("acme/owner"));
    expect([(await own(`manifests/${digest}`)).status, registrySaw()]).toEqual([200, []]);
  });

  test("a token that the edge cannot verify gets the Pod's answer", async () => {
    const { path } = await setUp("acme/undecided");
    const { privateKey } = await generateKeyPair("ES256");
    const jwt = await new SignJWT().setProtectedHeader({ alg: "ES256", kid: "k".repeat(43) }).sign(privateKey);
    expect((await pullerOf(stack.current, "acme/undecided", `pods.v1.pod-a/${jwt}`)(path)).status).toBe(401);
    expect(registrySaw()).toEqual([`GET /v2/acme/undecided/${path}`]);
  });

  test("the Pod answers each HEAD, so that a client pushes what the Pod has lost, also regctl, which asks with a token for pulls only", async () => {
    const { token, ask, path, digest } = await setUp("acme/lost-at-pod");
    const head = await ask(path, { method: "HEAD" });
    expect(head).toMatchObject({ status: 200, headers: { "docker-content-digest": digest } });
    const atPod = createClient(stack.current.pods["pod-a"].registry.direct);
    const deleted = await atPod.get(`/v2/acme/lost-at-pod/${path}`, jwtOf(token), { method: "DELETE" });
    expect(deleted.status).toBe(202);
    for (const actions of ["pull", "pull,push"]) {
      const own = pullerOf(stack.current, "acme/lost-at-pod", await tokenFor("acme/lost-at-pod", actions));
      expect((await own(path, { method: "HEAD" })).status).toBe(404);
    }
    expect(registrySaw()).toEqual(Array(3).fill(`HEAD /v2/acme/lost-at-pod/${path}`));
  });

  test("if its name moves to another Pod, that Pod is asked", async () => {
    const { digest } = await setUp("initech/app");
    await stack.current.putKv("route/initech", '{"v":1,"pod":"pod-b","revision":2,"state":"active"}');
    await stack.current.restartEdge("kept");
    const ask = pullerOf(stack.current, "initech/app", await tokenFor("initech/app"));
    expect((await ask(`manifests/${digest}`)).status).toBe(404);
    expect(registrySaw("pod-b")).toEqual([`GET /v2/initech/app/manifests/${digest}`]);
  });

  test("a block is checked before it is served", async () => {
    const { ask, path, digest } = await setUp("acme/blocked");
    await stack.current.putKv("blocks", JSON.stringify({ v: 1, revision: 2, blocks: { [digest]: "Withdrawn." } }));
    await stack.current.restartEdge("kept");
    for (const method of ["GET", "HEAD"]) expect((await ask(path, { method })).status).toBe(403);
  });
});

describe("DELETE of a kept manifest", () => {
  test.each(["in the same isolate", "in another isolate of the location"])(
    "the manifest is gone at once %s, even if a copy of it passes late",
    async (where) => {
      const repository = `acme/deleted-${where.includes("another") ? 2 : 1}`;
      const { ask, path, text } = await setUp(repository);
      expect((await ask(path, { method: "DELETE" })).status).toBe(202);
      if (where.includes("another")) {
        await stack.current.edgeSettled();
        await stack.current.restartEdge("kept");
      }
      for (const method of ["GET", "HEAD", "GET"]) expect((await ask(path, { method })).status).toBe(404);
      expect((await putManifest(stack.current, repository, "1", text)).status).toBe(201);
      expect((await ask(path)).text).toBe(text);
      const digest = path.replace("manifests/", "");
      await keepManifest(stack.current, repository, digest);
    },
  );

  test("without the right to it, or for a tag only, the manifest stays", async () => {
    const { ask, path } = await setUp("acme/stays");
    const reader = pullerOf(stack.current, "acme/stays", await tokenFor("acme/stays"));
    expect((await reader(path, { method: "DELETE" })).status).toBe(401);
    expect((await ask("manifests/1", { method: "DELETE" })).status).toBe(202);
    stack.current.clearSeen();
    expect([(await ask(path)).status, registrySaw()]).toEqual([200, []]);
  });

  test("if the answer is lost, the edge no longer holds the manifest", async () => {
    const { ask, path } = await setUp("acme/lost");
    await stack.current.setFault("pod-a", "registry", { mode: "status", status: 500 });
    expect((await ask(path, { method: "DELETE" })).status).toBe(500);
    await stack.current.setFault("pod-a", "registry", { mode: "none" });
    stack.current.clearSeen();
    expect([(await ask(path)).status, registrySaw()]).toEqual([200, [`GET /v2/acme/lost/${path}`]]);
  });
});

describe("time of a kept manifest", () => {
  const brief = useStack({ seedImages: false, topology: withTtl(1) });
  const never = useStack({ seedImages: false, topology: withTtl(0) });
  const sawOf = ({ current }: { readonly current: Stack }) => current.seen("pod-a", "registry").length;

  test("a manifest that was deleted at the Pod is served for proofTtlSeconds at most", async () => {
    const { digest } = await pushImage(brief.current, "acme/app", 1);
    await keepManifest(brief.current, "acme/app", digest);
    const token = await createClient(brief.current.edge).token(["repository:acme/app:pull,delete"]);
    const atPod = createClient(brief.current.pods["pod-a"].registry.direct);
    const path = `manifests/${digest}`;
    const deleted = await atPod.get(`/v2/acme/app/${path}`, jwtOf(token), { method: "DELETE" });
    expect(deleted.status).toBe(202);
    await sleep(1_000);
    expect((await pullerOf(brief.current, "acme/app", token)(path)).status).toBe(404);
  });

  test("with proofTtlSeconds 0 the Pod is asked each time", async () => {
    const { digest } = await pushImage(never.current, "acme/app", 1);
    const ask = pullerOf(
      never.current,
      "acme/app",
      await createClient(never.current.edge).token(["repository:acme/app:pull"]),
    );
    never.current.clearSeen();
    for (let time = 0; time < 3; time += 1) {
      expect((await ask(`manifests/${digest}`)).status).toBe(200);
      await never.current.edgeSettled();
    }
    expect(sawOf(never)).toBe(3);
  });
});

describe("manifest that passes the edge", async () => {
  const pod = await startOddPod();
  const odd = useStack({ seedImages: false, topology: asPodB(pod) });
  const text = manifestText([`sha256:${"c".repeat(64)}`]);
  const digest = await sha256(new Uint8Array(Buffer.from(text)));
  const large = (bytes: number) => text + " ".repeat(bytes - text.length);
  const digestOf = (body: string) => sha256(new Uint8Array(Buffer.from(body)));
  let count = 0;

  /** Pulls a manifest three times by its digest, and returns how often the edge asked the Pod for it. */
  async function requestsFor(body: string, named: string, { status = 200, headers = {} } = {}): Promise<number> {
    count += 1;
    const repository = `globex/odd-${count}`;
    const token = await createClient(odd.current.edge).token([`repository:${repository}:pull`]);
    const all = {
      "Content-Type": manifestType,
      "Docker-Content-Digest": named,
      "Content-Length": body.length,
      ...headers,
    };
    pod.answer((response) => void response.writeHead(status, all).end(body));
    const before = pod.seen.length;
    for (let time = 0; time < 3; time += 1) {
      await pullerOf(odd.current, repository, token)(`manifests/${named}`).catch(() => null);
      await odd.current.edgeSettled();
      await sleep(100);
    }
    return pod.seen.length - before;
  }

  test("a good manifest of up to 4 MiB is kept, so the Pod is asked once", async () => {
    expect(await requestsFor(text, digest)).toBe(1);
    // All manifests that are being copied share one budget of bytes. If the end of a copy did not free its bytes, the last manifests would not be
    // kept.
    for (const bytes of [300_000, 4 << 20, (4 << 20) - 1, (4 << 20) - 2]) {
      const body = large(bytes);
      expect([bytes, await requestsFor(body, await digestOf(body))]).toEqual([bytes, 1]);
    }
  });

  test.each([
    ["that does not hash to its digest", text.replace("c", "d"), {}],
    ["of another type", text, { headers: { "Content-Type": "application/json" } }],
    ["that is encoded", text, { headers: { "Content-Encoding": "identity" } }],
    ["that is only a part", text, { status: 206 }],
    ["that comes with an error", text, { status: 404 }],
    ["that is cut short", text, { headers: { "Content-Length": text.length + 1, Connection: "close" } }],
  ])("a manifest %s is not kept, so the Pod is asked each time", async (_, body, odds) => {
    expect(await requestsFor(body, digest, odds)).toBe(3);
  });

  test.each(["ETag", "Content-Type"])(
    "a manifest whose %s is not ASCII is not kept, so each client gets the Pod's own bytes of it",
    async (name) => {
      const value = { "Content-Type": `${manifestType}; x="\xff\xe9"` }[name] ?? '"\xff\xe9"';
      const repository = `globex/bytes-${name.toLowerCase()}`;
      const token = await createClient(odd.current.edge).token([`repository:${repository}:pull`]);
      const named = { "Content-Type": manifestType, "Docker-Content-Digest": digest, "Content-Length": text.length };
      pod.answer((response) => void response.writeHead(200, { ...named, [name]: value }).end(Buffer.from(text)));
      for (let time = 1; time <= 3; time += 1) {
        const { headers } = await pullerOf(odd.current, repository, token)(`manifests/${digest}`);
        await odd.current.edgeSettled();
        expect([pod.seen.length, headers[name.toLowerCase()]]).toEqual([time, value]);
      }
    },
  );

  test("a large manifest that comes in tiny pieces passes whole and is kept", async () => {
    const body = large(70_000);
    const digest = await digestOf(body);
    pod.answer(async (response) => {
      const headers = { "Content-Type": manifestType, "Docker-Content-Digest": digest, "Content-Length": body.length };
      response.writeHead(200, headers);
      for (let sent = 0; sent < body.length; sent += 70) {
        response.write(body.slice(sent, sent + 70));
        await sleep(1);
      }
      response.end();
    });
    const token = await createClient(odd.current.edge).token(["repository:globex/tiny:pull"]);
    const ask = pullerOf(odd.current, "globex/tiny", token);
    const before = pod.seen.length;
    const first = await ask(`manifests/${digest}`);
    await odd.current.edgeSettled();
    expect([first.status, first.text]).toEqual([200, body]);
    expect([await ask(`manifests/${digest}`), pod.seen.length - before]).toEqual([first, 1]);
  });

  test("a manifest of more than 4 MiB passes and is not kept", async () => {
    const body = large((4 << 20) + 1);
    expect(await requestsFor(body, await digestOf(body))).toBe(3);
  });

  test("pushes that reach no Pod leave room to keep other manifests", async () => {
    const client = createClient(odd.current.edge);
    const token = await client.token(["repository:globex/full:pull,push"]);
    const list = () => client.get("/v2/globex/full/tags/list", token);
    pod.answer((response) => void response.destroy());
    await expect
      .poll(async () => {
        await list();
        await odd.current.edgeSettled();
        return odd.current.edgeLines().at(-1);
      })
      .toContain("not called");
    const lines = ["Host: edge.test", `Authorization: Bearer ${token}`, `Content-Type: ${manifestType}`];
    const head = ["PUT /v2/globex/full/manifests/1 HTTP/1.1", ...lines, `Content-Length: ${4 << 20}`].join("\r\n");
    for (let push = 0; push < 5; push += 1) {
      const answer = await exchangeRaw(odd.current.edge, {
        text: `${head}\r\n\r\nbegun`,
        breaksOff: false,
        isHead: false,
      });
      expect(answer?.status).toBe(503);
    }
    pod.answer((response) => void response.writeHead(200).end("{}"));
    await expect.poll(async () => (await list()).status, { timeout: 10_000 }).toBe(200);
    const body = large(300_000);
    expect(await requestsFor(body, await digestOf(body))).toBe(1);
  });
});

test("a manifest that was only pushed is asked for at the Pod once, because a push does not tell how the Pod answers a pull", async () => {
  const { digest, text } = await pushImage(stack.current, "acme/pushed-only", 1);
  const ask = pullerOf(stack.current, "acme/pushed-only", await tokenFor("acme/pushed-only"));
  stack.current.clearSeen();
  const first = await ask(`manifests/${digest}`);
  await expect
    .poll(async () => {
      stack.current.clearSeen();
      expect(await ask(`manifests/${digest}`)).toEqual(first);
      return registrySaw();
    })
    .toEqual([]);
  expect(first).toMatchObject({ text, headers: { etag: `"${digest}"` } });
});

function withTtl(seconds: number) {
  return (text: string) => text.replaceAll("proof: manifest", `proof: manifest\n      proofTtlSeconds: ${seconds}`);
}
