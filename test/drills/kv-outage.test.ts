import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { chunksOf } from "../../src/lib/collections.ts";
import type { Stack } from "../../src/local/stack.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { createClient, layersOf } from "../support/client.ts";
import { signFor } from "../support/hostile-tokens.ts";
import { forgetDepth, useStack } from "../support/toy-stack.ts";

const unavailable = { code: "UNAVAILABLE", message: "the directory of this registry cannot be read; try again" };

/** Makes every KV read fail for as long as the stack runs. */
function breakKv({ stateDir }: Stack): void {
  const files = readdirSync(stateDir, { recursive: true, encoding: "utf8" });
  const databases = files.filter((file) => /KVNamespaceObject.*\.sqlite/.test(file));
  expect(databases).not.toEqual([]);
  for (const file of databases) writeFileSync(join(stateDir, file), "no database ".repeat(10_000));
}

/** Asks for tokens for more names than the isolate can remember. */
async function askAsStrangers({ edge }: Stack): Promise<void> {
  for (let request = 0; request < 6; request += 1) {
    const scopes = Array.from({ length: 200 }, (_, index) => `repository:x${request}y${index}${"/a".repeat(19)}:pull`);
    const url = `${edge}/jwt/auth?${new URLSearchParams(scopes.map((scope) => ["scope", scope]))}`;
    await fetch(url, { headers: request % 2 === 0 ? {} : { Authorization: `Basic ${btoa("nobody:wrong")}` } });
  }
}

describe("while KV fails", () => {
  const stack = useStack();

  test("names that were read lately can be pulled, and writes and other names get 503", async () => {
    await forgetDepth(stack.current);
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull,push,delete"]);
    // We pull the image only by its tag here. So the edge is asked for the image's digests only after KV has failed.
    expect((await client.get("/v2/acme/private/manifests/1", token)).status).toBe(200);
    await askAsStrangers(stack.current);
    breakKv(stack.current);
    stack.current.clearSeen();
    // `layersOf` asks for a token, and a token request uses a remembered assignment for two seconds. After a longer wait, it reads KV, which fails.
    await sleep(2_100);

    const layers = await layersOf(stack.current, "acme/private");
    for (const { digest } of layers) {
      const blob = await client.get(`/v2/acme/private/blobs/${digest}`, token);
      expect(blob.status).toBe(307);
      expect((await fetch(blob.headers.get("Location") ?? "")).status).toBe(200);
    }
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({ outcome: "redirected", kvFailure: /KV read failed/ });

    const seenBefore = stack.current.seen("pod-a", "registry").length;
    const digest = `sha256:${"a".repeat(64)}`;
    const refused = [
      await client.get(`/v2/acme/private/manifests/${digest}`, token, { method: "PUT", body: "{}" }),
      await client.get(`/v2/acme/private/blobs/${digest}`, token, { method: "DELETE" }),
      await client.get("/v2/acme/unseen/manifests/1", token),
      await client.get("/jwt/auth?service=registry-edge&scope=repository:acme/unseen:pull"),
    ];
    for (const answer of refused) {
      expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
      expect(await answer.json()).toEqual({ errors: [unavailable] });
    }
    expect(stack.current.seen("pod-a", "registry")).toHaveLength(seenBefore);
  });
});

describe("while KV fails, with the depth of all assignments in the directory", () => {
  const stack = useStack();

  test("a repository that was never asked for can be pulled if its group was, and writes and other groups get 503", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/hello:pull,push"]);
    expect((await client.get("/v2/acme/hello/manifests/1", token)).status).toBe(200);
    breakKv(stack.current);
    // A token request reads the assignment again if the last read is two seconds old.
    await sleep(2_100);
    const name = "acme/private";
    const layers = await layersOf(stack.current, name);
    const pullToken = await client.token([`repository:${name}:pull`]);
    for (const { digest } of layers) {
      expect((await client.get(`/v2/${name}/blobs/${digest}`, pullToken)).status).toBe(307);
    }
    const digest = `sha256:${"a".repeat(64)}`;
    const refused = [
      await client.get(`/v2/acme/hello/manifests/${digest}`, token, { method: "PUT", body: "{}" }),
      await client.get("/jwt/auth?service=registry-edge&scope=repository:globex/private:pull"),
    ];
    for (const answer of refused) {
      expect([answer.status, await answer.json()]).toEqual([503, { errors: [unavailable] }]);
    }
  });
});

describe("while KV fails, after a hostile Pod signed tokens for 600 names of another Pod", async () => {
  const [own, hostile] = [await generateSigningKey(true), await generateSigningKey(true)];
  const stack = useStack({ signingKeys: { "pod-a": own, "pod-b": hostile } });

  test("the other Pod's names that were pulled before are still served", { timeout: 60_000 }, async () => {
    await forgetDepth(stack.current);
    const client = createClient(stack.current.edge);
    // The test signs this token itself. A token request would make the isolate look up the name, and here only the pull may do so.
    const token = `pods.v1.pod-a/${await signFor({ ofA: own, ofB: hostile })}`;
    const pull = async () => (await client.get("/v2/acme/private/manifests/1", token)).status;
    expect(await pull()).toBe(200);
    const names = Array.from({ length: 600 }, (_, index) => `acme/x${index}${"/a".repeat(18)}`);
    for (const some of chunksOf(names, 30)) {
      const access = some.map((name) => ({ type: "repository", name, actions: ["pull"] }));
      const claims = { iss: "pod-b-issuer", aud: "pod-b-registry", access };
      const jwt = await signFor({ ofA: hostile, ofB: hostile }, claims);
      const asked = some.map((name) => client.get(`/v2/${name}/manifests/1`, `pods.v1.pod-b/${jwt}`));
      for (const { status } of await Promise.all(asked)) expect([401, 503]).toContain(status);
    }
    breakKv(stack.current);
    expect(await pull()).toBe(200);
    expect(stack.current.seen("pod-b", "registry")).toEqual([]);
  });
});
