import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createClient, layersOf } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack();
const unavailable = { code: "UNAVAILABLE", message: "the directory of this registry cannot be read; try again" };

/** Makes every KV read fail for as long as the stack runs. */
function breakKv(): void {
  const files = readdirSync(stack.current.stateDir, { recursive: true, encoding: "utf8" });
  const databases = files.filter((file) => /KVNamespaceObject.*\.sqlite/.test(file));
  expect(databases).not.toEqual([]);
  for (const file of databases) writeFileSync(join(stack.current.stateDir, file), "no database ".repeat(10_000));
}

/** Requests for so many names that the isolate cannot remember all of them. */
async function askAsStrangers(): Promise<void> {
  for (let request = 0; request < 6; request += 1) {
    const scopes = Array.from({ length: 200 }, (_, index) => `repository:x${request}y${index}${"/a".repeat(19)}:pull`);
    const url = `${stack.current.edge}/jwt/auth?${new URLSearchParams(scopes.map((scope) => ["scope", scope]))}`;
    await fetch(url, { headers: request % 2 === 0 ? {} : { Authorization: `Basic ${btoa("nobody:wrong")}` } });
  }
}

test("while KV fails, names that were read lately can be pulled, and writes and other names get 503", async () => {
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/private:pull,push,delete"]);
  // The image is pulled once by its tag, so no digest of it was looked up before KV failed.
  expect((await client.get("/v2/acme/private/manifests/1", token)).status).toBe(200);
  await askAsStrangers();
  breakKv();
  stack.current.clearSeen();

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
