import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { pushImage } from "../support/image.ts";
import { countKvReads, useStack } from "../support/toy-stack.ts";

const stack = useStack();
const requestsTo = (service: "registry" | "token") => stack.current.seen("pod-a", service).length;

async function costOf(requests: () => Promise<void>): Promise<{ readonly kv: number; readonly registry: number }> {
  const before = await countKvReads(stack.current);
  const seen = requestsTo("registry");
  await requests();
  return { kv: (await countKvReads(stack.current)) - before, registry: requestsTo("registry") - seen };
}

async function knowGroup(): Promise<void> {
  await stack.current.restartEdge();
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/hello:pull"]);
  expect((await client.get("/v2/acme/hello/manifests/1", token)).status).toBe(200);
}

test("ten new digests of a known group cost no KV read", async () => {
  const { blobs } = await pushImage(stack.current, "acme/ten", 9);
  expect(blobs).toHaveLength(10);
  await knowGroup();
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/ten:pull"]);
  const cost = await costOf(async () => {
    for (const digest of blobs) {
      expect((await client.get(`/v2/acme/ten/blobs/${digest}`, token)).status).toBe(307);
    }
  });
  // No manifest went through this isolate, so it has no proof of any blob. It asks the Pod once for each of the ten blobs.
  expect(cost).toEqual({ kv: 0, registry: 10 });
});

test("a repository that was never seen costs no KV read in a known group, because its prefix is not looked up", async () => {
  const names = ["acme/never/seen", "acme/nor/this/one", "acme/nor-this"];
  await knowGroup();
  const client = createClient(stack.current.edge);
  const token = await client.token(names.map((name) => `repository:${name}:pull,push`));
  const cost = await costOf(async () => {
    for (const name of names) {
      expect((await client.get(`/v2/${name}/blobs/uploads/`, token, { method: "POST" })).status).toBe(202);
    }
  });
  expect(cost).toEqual({ kv: 0, registry: 3 });
});

test("a pull with a fresh token costs one KV read of one key in a known group, and the next one within two seconds none", async () => {
  await knowGroup();
  const client = createClient(stack.current.edge);
  const pull = async () => {
    const token = await client.token(["repository:acme/private:pull"]);
    expect((await client.get("/v2/acme/private/manifests/1", token)).status).toBe(200);
  };
  await sleep(2_100);
  stack.current.clearSeen();
  expect((await costOf(pull)).kv).toBe(1);
  expect(stack.current.edgeSeen().map(({ endpoint, kvKeys }) => [endpoint, kvKeys])).toEqual([
    ["token", 1],
    ["manifest", 0],
  ]);
  expect((await costOf(pull)).kv).toBe(0);
});
