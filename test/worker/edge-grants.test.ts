import { randomBytes } from "node:crypto";
import { EncryptJWT } from "jose";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { sealEdgeGrant } from "../../src/auth/edge-grant.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import { deriveAesKey } from "../../src/lib/derive-key.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { createClient } from "../support/client.ts";
import { type Forge, signFor } from "../support/hostile-tokens.ts";
import { pushImage } from "../support/image.ts";
import { useStack } from "../support/toy-stack.ts";

const key = () => new Uint8Array(randomBytes(32));
const [live, old, strange] = [key(), key(), key()];
const EDGE_KEYS = JSON.stringify([live, old].map((each) => Buffer.from(each).toString("base64url")));
const forge: Forge = { ofA: await generateSigningKey(true), ofB: await generateSigningKey(true) };
const stack = useStack({ env: { EDGE_KEYS }, signingKeys: { "pod-a": forge.ofA, "pod-b": forge.ofB } });
const name = "acme/private";
let [digest, blob] = ["", ""];

/**
 * Pulls the image through the edge, which can then serve it without the Pod. Otherwise the Pod would refuse bad grants, and no test would notice if
 * the edge accepted them.
 */
beforeAll(async () => {
  const image = await pushImage(stack.current, name, 1);
  [digest, blob] = [image.digest, image.blobs[0] ?? ""];
  const client = createClient(stack.current.edge);
  const token = await client.token([`repository:${name}:pull`]);
  expect((await client.get(`/v2/${name}/manifests/1`, token)).status).toBe(200);
  expect((await client.get(`/v2/${name}/blobs/${blob}`, token)).status).toBe(307);
  await vi.waitFor(async () => {
    await (await client.get(`/v2/${name}/manifests/${digest}`, token)).text();
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().at(-1)?.outcome).toBe("kept");
  }, 5_000);
});

type Changes = { readonly pod?: string; readonly repositories?: readonly string[]; readonly seconds?: number };
const sealed = ({ pod = "pod-a", repositories = [name], seconds = 300 }: Changes = {}, edgeKey = live) =>
  sealEdgeGrant(
    { pod: pod as PodId, repositories, endsAt: new Date(Date.now() + seconds * 1_000) },
    { edgeKeys: [edgeKey] },
  );
const part = async (...made: Parameters<typeof sealed>) => `pod-a/edge.${await sealed(...made)}`;
const goodOfB = () =>
  signFor(
    forge,
    {
      iss: "pod-b-issuer",
      aud: "pod-b-registry",
      access: [{ type: "repository", name: "globex/hello", actions: ["pull"] }],
    },
    { kid: forge.ofB.publicJwk.kid ?? "" },
    forge.ofB.privateKey,
  );

const pullRequests = () => [
  ...[`manifests/1`, `manifests/${digest}`, `blobs/${blob}`].flatMap((path) => [
    ["GET", path] as const,
    ["HEAD", path] as const,
  ]),
];
const statusesOf = async (token: string) => {
  const client = createClient(stack.current.edge);
  const answers = pullRequests().map(([method, path]) => client.get(`/v2/${name}/${path}`, token, { method }));
  return (await Promise.all(answers)).map(({ status }) => status);
};

/** A Pod's JWT with the claims of a grant of the edge. The edge must not take it for its own grant. */
const signedLikeGrant = () => signFor(forge, { repositories: [name], aud: "pod-a", access: [] });

describe("grant of the edge's own", () => {
  test.each([
    ["the live key", live],
    ["the key that is being replaced", old],
  ])("sealed by %s, it pulls what is held, and no Pod sees a request", async (_, edgeKey) => {
    stack.current.clearSeen();
    expect(await statusesOf(`pods.v1.${await part({}, edgeKey)}`)).toEqual([200, 200, 200, 200, 307, 307]);
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
  });

  test.each<[string, () => Promise<string>]>([
    ["sealed by another key", async () => `pods.v1.${await part({}, strange)}`],
    [
      "sealed for another use of the key",
      async () => {
        const seal = new EncryptJWT({ repositories: [name] }).setAudience("pod-a").setExpirationTime("5m");
        const text = await seal
          .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
          .encrypt(await deriveAesKey(live, "upload-pin"));
        return `pods.v1.pod-a/edge.${text}`;
      },
    ],
    ["given for another Pod", async () => `pods.v1.${await part({ pod: "pod-b" })}`],
    ["given for another Pod, under its name", async () => `pods.v1.pod-b/edge.${await sealed({ pod: "pod-b" })}`],
    ["given for this Pod, under another's name", async () => `pods.v1.pod-b/edge.${await sealed()}`],
    ["for another repository", async () => `pods.v1.${await part({ repositories: ["acme/hello", "acme/private2"] })}`],
    ["for a repository above", async () => `pods.v1.${await part({ repositories: ["acme"] })}`],
    ["for a pattern", async () => `pods.v1.${await part({ repositories: ["acme/*", "*", ""] })}`],
    ["that has just ended", async () => `pods.v1.${await part({ seconds: -1 })}`],
    ["without its mark, in the place of a Pod's token", async () => `pods.v1.pod-a/${await sealed()}`],
    ["as a bare token", async () => sealed()],
    ["as a bare token with its mark", async () => `edge.${await sealed()}`],
    ["signed by the Pod", async () => `pods.v1.pod-a/edge.${await signedLikeGrant()}`],
    ["signed by the Pod, without the mark", async () => `pods.v1.pod-a/${await signedLikeGrant()}`],
    ["next to a good token of the same Pod", async () => `pods.v1.pod-a/${await signFor(forge)}~${await part()}`],
    [
      "forged, next to a good part of another Pod",
      async () => `pods.v1.${await part({}, strange)}~pod-b/${await goodOfB()}`,
    ],
  ])("a grant %s pulls nothing, and no Pod sees it", async (_, make) => {
    stack.current.clearSeen();
    expect(await statusesOf(await make())).toEqual(Array(6).fill(401));
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
    expect(stack.current.seen("pod-b", "registry")).toEqual([]);
  });

  test("a forged grant makes the good part next to it invalid, as any part that does not verify does", async () => {
    const client = createClient(stack.current.edge);
    const get = async (token: string) =>
      (await client.get("/v2/acme/hello/manifests/1", token)).headers.get("WWW-Authenticate");
    const ofB = await goodOfB();
    expect(await get(`pods.v1.${await part({}, strange)}~pod-b/${ofB}`)).toContain('error="invalid_token"');
    expect(await get(`pods.v1.${await part()}~pod-b/${ofB}`)).toContain('error="insufficient_scope"');
  });

  test("a free name gets the answer of an assigned one that it does not allow", async () => {
    const client = createClient(stack.current.edge);
    const token = `pods.v1.${await part()}`;
    const answers = ["acme/other", "free/name", "globex/private"].map(async (other) => {
      const answer = await client.get(`/v2/${other}/manifests/1`, token);
      return [answer.status, (await answer.text()).replaceAll(other, "")];
    });
    const [own, ...others] = await Promise.all(answers);
    expect(own?.[0]).toBe(401);
    for (const other of others) expect(other).toEqual(own);
  });

  test("whatever is asked for with it, no Pod is called", async () => {
    const client = createClient(stack.current.edge);
    const ofB = await sealed({ pod: "pod-b", repositories: ["globex/hello", "globex/private"] });
    const token = `pods.v1.${await part({ repositories: [name, "acme/hello"] })}~pod-b/edge.${ofB}`;
    const paths = [
      ...["/v2/", "/v2/_catalog", "/gitlab/v1/", "/gitlab/v1/statistics", `/gitlab/v1/repositories/${name}/`],
      ...[`/gitlab/v1/repositories/${name}/tags/list/`, `/gitlab/v1/repository-paths/${name}/repositories/list/`],
      ...[name, "acme/hello", "globex/hello", "globex/private", "acme/free"].flatMap((repository) =>
        [
          ...["manifests/1", "manifests/2", `manifests/${digest}`, `blobs/${blob}`, `blobs/sha256:${"0".repeat(64)}`],
          ...["tags/list", `referrers/${digest}`, "blobs/uploads/", "blobs/uploads/some-upload?_state=a"],
          ...[`blobs/uploads/?mount=${blob}&from=${name}`, "manifests/1?ns=docker.io"],
        ].map((path) => `/v2/${repository}/${path}`),
      ),
    ];
    stack.current.clearSeen();
    const statuses = new Set<number>();
    for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]) {
      const bodyless = method === "GET" || method === "HEAD";
      const init = bodyless ? { method } : { method, body: "{}", headers: { "Content-Type": "application/json" } };
      for (const path of paths) {
        const answer = await client.get(path, token, init);
        await answer.body?.cancel();
        statuses.add(answer.status);
      }
    }
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
    expect(stack.current.seen("pod-b", "registry")).toEqual([]);
    // The edge answers 503 if its cache lacks what was asked for. No other status from 500 on may occur.
    expect([...statuses].filter((status) => status >= 500)).toEqual([503]);
    await stack.current.edgeSettled();
    expect(stack.current.edgeLines().join("\n")).not.toContain(token.slice(20, 60));
  });
});
