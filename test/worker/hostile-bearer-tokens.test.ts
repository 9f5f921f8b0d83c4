import { beforeAll, describe, expect, test } from "vitest";
import { base64url, utf8 } from "../../src/lib/bytes.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { createClient } from "../support/client.ts";
import { type Forge, type HostileToken, hostileTokens, signFor } from "../support/hostile-tokens.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";

const forge: Forge = { ofA: await generateSigningKey(true), ofB: await generateSigningKey(true) };
const hostile = await hostileTokens(forge);
const stack = useStack({ signingKeys: { "pod-a": forge.ofA, "pod-b": forge.ofB } });
const name = "acme/private";
let digest = "";

/** After the good token's pull, the edge can serve the image without the Pod. So if the edge accepts a bad token, no Pod refuses that token. */
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

describe("keys of KV for one request of a stranger", () => {
  const fleet = useStack({ seedImages: false });
  const kid = (index: number) => `${index}`.padStart(43, "k");

  test.each([50, 51, 75])(
    "with eight made-up parts and two deep names, in a fleet of %d Pods, they are at most 100",
    async (size) => {
      const { current } = fleet;
      const pods = ["pod-a", ...Array.from({ length: size - 1 }, (_, index) => `pod-${index}`)];
      const record = (await readStackKv(current, ["pod/pod-a"])).get("pod/pod-a") ?? "";
      for (const pod of pods) await current.putKv(`pod/${pod}`, record);
      const directory = { v: 1, revision: 2, pods, default: "pod-a", credentials: "shared" };
      await current.putKv("directory", JSON.stringify(directory));
      await current.restartEdge();
      current.clearSeen();
      const jwt = (index: number) => `${base64url(utf8(JSON.stringify({ alg: "RS256", kid: kid(index) })))}.e30.AAAA`;
      const owners = ["pod-a", ...Array.from({ length: 7 }, (_, index) => `unlisted-${index}`)];
      const token = `pods.v1.${owners.map((owner, index) => `${owner}/${jwt(index)}`).join("~")}`;
      const deep = (name: string) => `${name}${"/a".repeat(19)}`;
      const path = `/v2/${deep("to")}/blobs/uploads/?mount=${digest}&from=${deep("from")}`;
      expect((await createClient(current.edge).get(path, token, { method: "POST" })).status).toBe(401);
      await current.edgeSettled();
      const [line] = current.edgeSeen();
      expect(line?.kvKeys).toBeGreaterThanOrEqual(50);
      expect(line?.kvKeys).toBeLessThanOrEqual(100);
    },
  );
});
