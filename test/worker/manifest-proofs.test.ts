import http from "node:http";
import { generateKeyPair, SignJWT } from "jose";
import { afterEach, describe, expect, test, vi } from "vitest";
import { type ClientInit, createClient, sha256 } from "../support/client.ts";
import { manifestText, manifestType } from "../support/image.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { exchangeRaw } from "../support/raw-exchange.ts";
import { useStack } from "../support/toy-stack.ts";

const pod = await startOddPod();
const stack = useStack({ topology: asPodB(pod), seedImages: false });
const digest = (char: string) => `sha256:${char.repeat(64)}`;
const blobs = ["c", "d"].map(digest);
const text = manifestText(blobs);
const trueDigest = await sha256(new Uint8Array(Buffer.from(text)));

/** Each test has a repository of its own, because a proof outlives its test. */
let count = 0;
const repository = () => `globex/app-${count}`;
afterEach(() => {
  count += 1;
});

async function ask(path: string, init: ClientInit = {}) {
  const client = createClient(stack.current.edge);
  const token = await client.token([`repository:${repository()}:pull,push,delete`]);
  return client.get(`/v2/${repository()}/${path}`, token, init);
}

type Odd = {
  readonly status?: number;
  readonly body?: string | Buffer;
  readonly headers?: Record<string, string | undefined>;
};

function serve({ status = 200, body = text, headers = {} }: Odd): void {
  const all = { "Content-Type": manifestType, "Docker-Content-Digest": trueDigest, ...headers };
  const sent = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  pod.answer((response, { method, path }) => {
    if (path.includes("/blobs/")) response.writeHead(404).end();
    else response.writeHead(method === "PUT" ? 201 : status, sent).end(method === "PUT" ? "" : body);
  });
}

/** The Pod denies every blob. So if the edge signs their URLs, it has learned the blobs from the manifest. */
async function isLearned(): Promise<boolean> {
  const statuses = await Promise.all(blobs.map(async (blob) => (await ask(`blobs/${blob}`)).status));
  expect(new Set(statuses).size).toBe(1);
  return statuses[0] === 307;
}

test("a manifest that is pulled proves its blobs and keeps the Pod's bytes, length and headers", async () => {
  serve({ headers: { "Content-Length": String(text.length), "X-Own": "1" } });
  const answer = await ask("manifests/1");
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    "content-length": String(text.length),
    "content-type": manifestType,
    "docker-content-digest": trueDigest,
    "x-own": "1",
  });
  expect(answer.headers.get("Transfer-Encoding")).toBeNull();
  expect(await answer.text()).toBe(text);
  expect(await isLearned()).toBe(true);
});

test("a manifest that is pushed proves its blobs and reaches the Pod unchanged, with its length", async () => {
  serve({});
  expect(
    (await ask("manifests/1", { method: "PUT", body: text, headers: { "Content-Type": manifestType } })).status,
  ).toBe(201);
  expect(pod.seen.at(-1)).toMatchObject({ method: "PUT", body: text });
  expect(pod.seen.at(-1)?.headers).toMatchObject({
    "content-length": String(text.length),
    "content-type": manifestType,
  });
  expect(await isLearned()).toBe(true);
});

describe("proof by manifest", () => {
  test.each<[string, Odd, string?]>([
    ["that does not hash to the digest that the Pod names", { headers: { "Docker-Content-Digest": digest("0") } }],
    ["that does not hash to the digest that was asked for", {}, digest("0")],
    [
      "that hashes to the digest that was asked for, but not to the Pod's",
      { headers: { "Docker-Content-Digest": digest("0") } },
      trueDigest,
    ],
    ["without a digest", { headers: { "Docker-Content-Digest": undefined } }],
    ["with a malformed digest", { headers: { "Docker-Content-Digest": "sha256:1" } }],
    ["that is only a part", { status: 206 }],
    ["that is an error", { status: 404 }],
    ["of another type", { headers: { "Content-Type": "application/json" } }],
    ["that is encoded", { headers: { "Content-Encoding": "identity" } }],
    ["that is cut short", { headers: { "Content-Length": String(text.length + 1), Connection: "close" } }],
  ])("a manifest %s proves no blob", async (_, odd, reference = "1") => {
    serve(odd);
    await (await ask(`manifests/${reference}`)).text().catch(() => null);
    expect(await isLearned()).toBe(false);
  });

  test("a manifest that was only asked for by HEAD proves no blob", async () => {
    serve({});
    await ask("manifests/1", { method: "HEAD" });
    expect(await isLearned()).toBe(false);
  });

  test.each([
    ["has U+FEFF before the type", [`Content-Type: \u00ef\u00bb\u00bf${manifestType}`], "application/octet-stream"],
    ["is named by Connection", [`Content-Type: ${manifestType}`, "Connection: close, content-type"], undefined],
  ])(
    "a push whose Content-Type %s proves no blob, because the Pod was sent another type",
    async (_, lines, sentType) => {
      serve({});
      const token = await createClient(stack.current.edge).token([`repository:${repository()}:pull,push`]);
      const own = [`Authorization: Bearer ${token}`, `Content-Length: ${text.length}`, "Host: edge.test"];
      const head = [`PUT /v2/${repository()}/manifests/1 HTTP/1.1`, ...own, ...lines].join("\r\n");
      const pushed = { text: `${head}\r\n\r\n${text}`, breaksOff: false, isHead: false };
      expect((await exchangeRaw(stack.current.edge, pushed))?.status).toBe(201);
      expect(pod.seen.at(-1)?.headers["content-type"]).toBe(sentType);
      expect(await isLearned()).toBe(false);
    },
  );

  test("a manifest that the Pod refuses proves no blob", async () => {
    pod.answer((response) => void response.writeHead(400, { "Docker-Content-Digest": trueDigest }).end());
    await ask("manifests/1", { method: "PUT", body: text, headers: { "Content-Type": manifestType } });
    serve({});
    expect(await isLearned()).toBe(false);
  });
});

describe("manifest of more than 256 KiB", async () => {
  const padded = `${text}${" ".repeat(256 * 1024)}`;
  const named = { "Docker-Content-Digest": await sha256(new Uint8Array(Buffer.from(padded))) };

  test.each([
    ["with its length", { "Content-Length": String(padded.length) }],
    ["in chunks", {}],
  ])("it passes whole %s and proves no blob", async (_, length) => {
    serve({ body: padded, headers: { ...named, ...length } });
    expect((await (await ask("manifests/1")).text()).length).toBe(padded.length);
    expect(await isLearned()).toBe(false);
  });

  test("it is pushed whole in chunks and proves no blob", async () => {
    serve({ headers: named });
    const body = new Blob([padded]).stream();
    const pushed = { method: "PUT", body, duplex: "half", headers: { "Content-Type": manifestType } } as const;
    expect((await ask("manifests/1", pushed)).status).toBe(201);
    expect(pod.seen.at(-1)?.body.length).toBe(padded.length);
    expect(await isLearned()).toBe(false);
  });
});

describe("with a token whose key is unknown", async () => {
  const { privateKey } = await generateKeyPair("ES256");
  const jwt = await new SignJWT().setProtectedHeader({ alg: "ES256", kid: "k".repeat(43) }).sign(privateKey);
  const askUnverified = (path: string, init: ClientInit = {}) =>
    createClient(stack.current.edge).get(`/v2/${repository()}/${path}`, `pods.v1.pod-b/${jwt}`, init);

  test("no pull, push or HEAD proves a blob", async () => {
    serve({});
    expect(await (await askUnverified("manifests/1")).text()).toBe(text);
    const push = { method: "PUT", body: text, headers: { "Content-Type": manifestType } };
    expect((await askUnverified("manifests/1", push)).status).toBe(201);
    pod.answer((response, { path }) => void response.writeHead(path.includes("/blobs/") ? 200 : 404).end());
    for (const blob of blobs) await askUnverified(`blobs/${blob}`, { method: "HEAD" });
    serve({});
    expect(await isLearned()).toBe(false);
  });

  test("the Pod's own redirect of a HEAD is passed on, and the edge signs no URL", async () => {
    const { host } = new URL(stack.current.pods["pod-b"].storage.url);
    const own = `http://${host}/${blobs[0]?.replace("sha256:", "")}?by=pod`;
    pod.answer((response) => void response.writeHead(307, { Location: own }).end());
    const answer = await askUnverified(`blobs/${blobs[0]}`, { method: "HEAD" });
    expect([answer.status, answer.headers.get("Location")]).toEqual([307, own]);
  });

  test("a blob that the Pod deletes loses its proof", async () => {
    serve({});
    await (await ask("manifests/1")).text();
    expect(await isLearned()).toBe(true);
    pod.answer((response, { method }) => void response.writeHead(method === "DELETE" ? 202 : 404).end());
    for (const blob of blobs) await askUnverified(`blobs/${blob}`, { method: "DELETE" });
    expect(await isLearned()).toBe(false);
  });
});

test("a manifest is streamed, so its first bytes arrive before the Pod has sent the last", async () => {
  const rest = Promise.withResolvers<void>();
  pod.answer(async (response) => {
    response.writeHead(200, { "Content-Type": manifestType, "Content-Length": text.length });
    response.write(text.slice(0, 10));
    await rest.promise;
    response.end(text.slice(10));
  });
  const answer = await ask("manifests/1");
  const reader = answer.body?.getReader();
  expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe(text.slice(0, 10));
  rest.resolve();
  expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe(text.slice(10));
});

test("a DELETE ends a blob's proof even if its client hangs up before the answer", async () => {
  serve({});
  await (await ask("manifests/1")).text();
  expect(await isLearned()).toBe(true);
  const client = createClient(stack.current.edge);
  const token = await client.token([`repository:${repository()}:delete`]);
  const deleted = Promise.withResolvers<void>();
  pod.answer(async (response, { method }) => {
    if (method !== "DELETE") return void response.writeHead(404).end();
    request.socket?.resetAndDestroy();
    await new Promise((resolve) => setTimeout(resolve, 200));
    response.writeHead(202).end();
    deleted.resolve();
  });
  const request = http.request(`${stack.current.edge}/v2/${repository()}/blobs/${blobs[0]}`, {
    method: "DELETE",
    headers: { Authorization: `Bearer ${token}` },
  });
  request.on("error", () => {}).end();
  await deleted.promise;
  await vi.waitFor(async () => expect((await ask(`blobs/${blobs[0]}`)).status).toBe(404));
  expect((await ask(`blobs/${blobs[1]}`)).status).toBe(307);
});
