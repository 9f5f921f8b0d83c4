import { expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack();

/** The KV reads of requests that come once the group is known. */
async function readsOf(requests: () => Promise<void>): Promise<number> {
  await stack.current.edgeSettled();
  const before = stack.current.kvReads();
  await requests();
  await stack.current.edgeSettled();
  return stack.current.kvReads() - before;
}

test("ten new digests of a known group cost no KV read", async () => {
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/private:pull"]);
  expect((await client.get("/v2/acme/private/manifests/1", token)).status).toBe(200);
  const reads = await readsOf(async () => {
    for (let digit = 0; digit < 10; digit += 1) {
      const digest = `sha256:${String(digit).repeat(64)}`;
      expect((await client.get(`/v2/acme/private/blobs/${digest}`, token)).status).toBe(404);
    }
  });
  expect(reads).toBe(0);
});

test("a repository that was never seen costs no KV read in a known group, because its prefix is not looked up", async () => {
  const client = createClient(stack.current.edge);
  const names = ["acme/never/seen", "acme/nor/this/one", "acme/nor-this"];
  const token = await client.token(names.map((name) => `repository:${name}:pull,push`));
  const known = await client.token(["repository:acme/hello:pull"]);
  expect((await client.get("/v2/acme/hello/manifests/1", known)).status).toBe(200);
  const reads = await readsOf(async () => {
    for (const name of names) {
      expect((await client.get(`/v2/${name}/blobs/uploads/`, token, { method: "POST" })).status).toBe(202);
    }
  });
  expect(reads).toBe(0);
});
