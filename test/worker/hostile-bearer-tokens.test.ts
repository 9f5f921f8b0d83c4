import { beforeAll, describe, expect, test } from "vitest";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { createClient } from "../support/client.ts";
import { type Forge, type HostileToken, hostileTokens, signFor } from "../support/hostile-tokens.ts";
import { useStack } from "../support/toy-stack.ts";

const forge: Forge = { ofA: await generateSigningKey(true), ofB: await generateSigningKey(true) };
const hostile = await hostileTokens(forge);
const stack = useStack({ signingKeys: { "pod-a": forge.ofA, "pod-b": forge.ofB } });
const name = "acme/private";
let digest = "";

/** The edge first learns the manifest, the proof and the good token. So it could give the image away if it accepted a bad token. */
beforeAll(async () => {
  const client = createClient(stack.current.edge);
  const good = await signFor(forge);
  for (const token of [good, `pods.v1.pod-a/${good}`]) {
    const answer = await client.get(`/v2/${name}/manifests/1`, token);
    const { layers } = (await answer.json()) as { layers: { digest: string }[] };
    digest = layers[0]?.digest ?? "";
    expect((await client.get(`/v2/${name}/blobs/${digest}`, token)).status).toBe(307);
    expect((await client.get("/v2/", token)).status).toBe(200);
  }
  stack.current.clearSeen();
});

test("the table of hostile tokens has at least 80 different ones", () => {
  expect(new Set(hostile.map(({ sent }) => sent)).size).toBe(hostile.length);
  expect(hostile.length).toBeGreaterThanOrEqual(80);
});

describe("hostile token", () => {
  const requests = () =>
    [
      ["GET", `/v2/${name}/manifests/1`, "pull"],
      ["HEAD", `/v2/${name}/manifests/1`, "pull"],
      ["GET", `/v2/${name}/blobs/${digest}`, "pull"],
      ["HEAD", `/v2/${name}/blobs/${digest}`, "pull"],
      ["GET", `/v2/${name}/tags/list`, "pull"],
      ["GET", `/v2/${name}/referrers/${digest}`, "pull"],
      ["POST", `/v2/${name}/blobs/uploads/`, "pull,push"],
      ["PUT", `/v2/${name}/manifests/2`, "pull,push"],
    ] as const;

  test.each(hostile)("it gets no byte, no redirect and no manifest: $what", async (token: HostileToken) => {
    const client = createClient(stack.current.edge);
    for (const [method, path, actions] of requests()) {
      const init = method === "PUT" ? { method, body: "{}" } : { method };
      const answer = await client.get(path, token.sent, init);
      const challenge = `Bearer realm="${stack.current.edge}/jwt/auth",service="registry-edge",scope="repository:${name}:${actions}"`;
      expect([answer.status, answer.headers.get("WWW-Authenticate")], `${method} ${path}`).toEqual([
        401,
        `${challenge},error="${token.error}"`,
      ]);
      expect([answer.headers.get("Location"), answer.headers.get("Docker-Content-Digest")]).toEqual([null, null]);
      const body = await answer.text();
      if (method !== "HEAD") {
        expect(Object.keys(JSON.parse(body) as object)).toEqual(["errors"]);
        expect((JSON.parse(body) as { errors: { code: string }[] }).errors.map(({ code }) => code)).toEqual([
          "UNAUTHORIZED",
        ]);
      }
    }
    expect(stack.current.seen("pod-a", "storage")).toEqual([]);
    expect(stack.current.seen("pod-b", "registry")).toEqual([]);
  });

  test("it costs its Pod a request only if its key is unknown, and it is in no log line", async () => {
    stack.current.clearSeen();
    const client = createClient(stack.current.edge);
    const ownKey = /^(a key of its own, by|a kid that would be a path)/;
    for (const { what, sent } of hostile) {
      if (!ownKey.test(what)) await client.get(`/v2/${name}/blobs/${digest}`, sent);
    }
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
    await stack.current.edgeSettled();
    for (const { sent } of hostile) {
      const secret = sent.slice(-60);
      if (secret.length < 60) continue;
      expect(stack.current.edgeLines().filter((line) => line.includes(secret))).toEqual([]);
    }
  });
});
