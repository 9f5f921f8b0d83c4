import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { rawClient, rawService } from "../support/raw-sockets.ts";
import { useStack } from "../support/toy-stack.ts";

const pod = await startOddPod();
const stack = useStack({ topology: asPodB(pod), seedImages: false });

const tokenFor = (client: ReturnType<typeof createClient>) => client.token(["repository:globex/app:pull,push"]);
const chunk = "0123456789";
/** A body in these chunks takes longer than 10 s, which is the shortest deadline for a Pod's answer. Each pause is shorter than 10 s. */
const chunks = 6;
const pauseMs = 2_200;

test("after a connection to a Pod breaks, a read and an upload's start without a body are tried once more, and other writes are not", async () => {
  const client = createClient(stack.current.edge);
  const token = await tokenFor(client);
  pod.answer((response) => {
    if (pod.seen.length === 1) response.destroy();
    else response.writeHead(200).end("{}");
  });
  expect((await client.get("/v2/globex/app/manifests/1", token)).status).toBe(200);
  expect(pod.seen.map(({ method }) => method)).toEqual(["GET", "GET"]);
  const uploads = "/v2/globex/app/blobs/uploads/";
  pod.answer((response) => {
    if (pod.seen.length === 3) response.destroy();
    else response.writeHead(202, { Location: `${uploads}u-1` }).end();
  });
  // GitLab closes idle connections, so this POST may meet a closed one. Without a second try, a docker push would fail now and then.
  expect((await client.get(uploads, token, { method: "POST" })).status).toBe(202);
  expect(pod.seen.slice(2).map(({ method }) => method)).toEqual(["POST", "POST"]);
  pod.answer((response) => void response.destroy());
  const body = "{}";
  const put = await client.get("/v2/globex/app/manifests/1", token, { method: "PUT", body });
  const patch = await client.get(`${uploads}u-1`, token, { method: "PATCH", body });
  const post = await client.get(uploads, token, { method: "POST", body });
  expect([put.status, put.headers.get("Retry-After"), patch.status, post.status]).toEqual([503, "5", 503, 503]);
  expect(pod.seen.slice(4).map(({ method }) => method)).toEqual(["PUT", "PATCH", "POST"]);
});

test("no deadline cuts a body that moves, in either direction", { timeout: 40_000 }, async () => {
  const client = createClient(stack.current.edge);
  const token = await tokenFor(client);
  pod.answer(async (response, { method }) => {
    if (method !== "GET") return void response.writeHead(202, { Range: "0-59" }).end();
    response.writeHead(200);
    for (let sent = 0; sent < chunks; sent += 1) {
      response.write(chunk);
      await sleep(pauseMs);
    }
    response.end();
  });
  const slowBody = new ReadableStream({
    async start(controller) {
      for (let sent = 0; sent < chunks; sent += 1) {
        controller.enqueue(new Uint8Array(Buffer.from(chunk)));
        await sleep(pauseMs);
      }
      controller.close();
    },
  });
  const [down, up] = await Promise.all([
    // Of all requests whose answer has a body, this one has the shortest deadline.
    client.get("/v2/globex/app/blobs/uploads/u-1", token).then(async (answer) => answer.text()),
    client.get("/v2/globex/app/blobs/uploads/", token, { method: "POST", body: slowBody, duplex: "half" }),
  ]);
  expect(down).toBe(chunk.repeat(chunks));
  expect(up.status).toBe(202);
  expect(pod.seen.find(({ method }) => method === "POST")?.body).toBe(chunk.repeat(chunks));
});

test("a Pod that takes 11 s for a list, a manifest, a token or a write answers its client itself", {
  timeout: 40_000,
}, async () => {
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:globex/app:pull,push,delete"]);
  pod.answer(async (response) => {
    await sleep(11_000);
    response.writeHead(202, { "Content-Type": "application/json" }).end("{}");
  });
  const slow = [
    ["GET", "tags/list"],
    ["GET", `referrers/sha256:${"a".repeat(64)}`],
    ["GET", "manifests/1"],
    ["POST", "blobs/uploads/"],
    ["POST", `blobs/uploads/?mount=sha256:${"a".repeat(64)}&from=globex/app`],
    ["DELETE", "manifests/1"],
  ] as const;
  const answers = slow.map(async ([method, path]) => client.get(`/v2/globex/app/${path}`, token, { method }));
  await stack.current.setFault("pod-a", "token", { mode: "delay", ms: 11_000 });
  const granted = client.token(["repository:acme/app:pull"]);
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(slow.map(() => 202));
  // While a write waits for the Pod longer than a second, the edge sends the Pod a ping.
  const pings = slow.filter(([method]) => method !== "GET").map(() => "GET /v2/");
  expect(pod.seen.map(({ method, path }) => `${method} ${decodeURIComponent(path)}`).sort()).toEqual(
    [...slow.map(([method, path]) => `${method} /v2/globex/app/${path}`), ...pings].sort(),
  );
  expect(await granted).toContain("pod-a/");
  await stack.current.setFault("pod-a", "token", { mode: "none" });
});

describe("body in chunks of one byte", async () => {
  const bytes = 3_000;
  const tiny = `${"1\r\nx\r\n".repeat(bytes)}0\r\n\r\n`;
  const chunked = "Transfer-Encoding: chunked";
  const isWhole = (text: string) => text.endsWith("\r\n0\r\n\r\n");
  /** The body has only the letter `x`, so no line of the body looks like a chunk's length. */
  const lengths = (text: string) =>
    (text.slice(text.indexOf("\r\n\r\n")).match(/^[0-9a-f]+(?=\r$)/gm) ?? []).map((length) =>
      Number.parseInt(length, 16),
    );
  const service = await rawService((received) => {
    if (received.startsWith("GET /v2/globex")) return `HTTP/1.1 200 OK\r\n${chunked}\r\n\r\n${tiny}`;
    return isWhole(received) ? "HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" : null;
  });
  afterAll(() => service.stop());
  const tinyStack = useStack({
    topology: asPodB({ ...pod, url: `http://127.0.0.1:${service.port}` }),
    seedImages: false,
  });

  test.each(["up", "down"])("it passes %s in few pieces, because each piece costs CPU time", async (way) => {
    const { edge } = tinyStack.current;
    const client = await rawClient(edge);
    const [method, end] = way === "up" ? (["PATCH", tiny] as const) : (["GET", ""] as const);
    const own = [`Authorization: Bearer ${await tokenFor(createClient(edge))}`, ...(way === "up" ? [chunked] : [])];
    const head = [`${method} /v2/globex/app/blobs/uploads/u-1 HTTP/1.1`, "Host: edge.test", ...own];
    client.send(`${head.join("\r\n")}\r\n\r\n${end}`);
    const taken = () => (way === "up" ? (service.received.at(-1) ?? "") : client.received());
    await expect.poll(() => isWhole(taken()), { timeout: 10_000 }).toBe(true);
    client.socket.destroy();
    const pieces = lengths(taken());
    expect(pieces.reduce((sum, length) => sum + length, 0)).toBe(bytes);
    expect(pieces.length).toBeLessThan(200);
  });
});
