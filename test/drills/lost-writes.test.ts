import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { createClient, pushBlob, sha256 } from "../support/client.ts";
import { manifestText, putManifest } from "../support/image.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack } from "../support/toy-stack.ts";

const pod = await startOddPod();
const stack = useStack({ seedImages: false, topology: asPodB(pod) });

test("each request of an upload that a Pod has lost ends in 503 after 12 s, and the blob can be pushed again at once", async () => {
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/app:pull,push"]);
  const send = (path: string, method: string, body: string | null = null) => client.get(path, token, { method, body });
  const start = async () => (await send("/v2/acme/app/blobs/uploads/", "POST")).headers.get("Location") ?? "";
  const [first, second] = [await start(), await start()];
  const patched = await send(second, "PATCH", "layer");
  const last = patched.headers.get("Location") ?? "";
  expect([patched.status, new URL(last, stack.current.edge).searchParams.get("_pod_bytes")]).toEqual([202, "5"]);
  const digest = await sha256(new Uint8Array(Buffer.from("layer")));

  await stack.current.setFault("pod-a", "registry", { mode: "hang" });
  const startedAtMs = performance.now();
  const answers = await Promise.all([
    send("/v2/acme/app/blobs/uploads/", "POST"),
    send(first, "PATCH", "layer"),
    send(`${last}&digest=${digest}`, "PUT"),
  ]);
  const ms = performance.now() - startedAtMs;
  expect(answers.map(({ status, headers }) => [status, headers.get("Retry-After")])).toEqual(Array(3).fill([503, "5"]));
  expect(ms).toBeGreaterThan(11_900);
  expect(ms).toBeLessThan(16_000);
  await stack.current.setFault("pod-a", "registry", { mode: "none" });
  // Writes that fail do not open the breaker, so the next push works at once.
  expect(await pushBlob(stack.current, "acme/app", "layer")).toBe(digest);
}, 40_000);

test("a manifest, a mount and a delete that a Pod lost in a hang of 5 s end in 503 after 16 s, and can be repeated at once", async () => {
  const client = createClient(stack.current.edge);
  const config = await pushBlob(stack.current, "acme/app", "config");
  const manifest = manifestText([config]);
  const token = await client.token(["repository:acme/app:pull,push,delete", "repository:acme/b:pull"]);
  const send = (path: string, method: string) => client.get(`/v2/acme/app/${path}`, token, { method });
  stack.current.clearSeen();
  await stack.current.setFault("pod-a", "registry", { mode: "hang" });
  const startedAtMs = performance.now();
  const sent = [
    putManifest(stack.current, "acme/app", "1", manifest),
    send(`blobs/uploads/?mount=${config}&from=acme/b`, "POST"),
    send(`manifests/${await sha256(new Uint8Array(Buffer.from(manifest)))}`, "DELETE"),
  ];
  await sleep(5_000);
  await stack.current.setFault("pod-a", "registry", { mode: "none" });
  const answers = await Promise.all(sent);
  const ms = performance.now() - startedAtMs;
  expect(answers.map(({ status, headers }) => [status, headers.get("Retry-After")])).toEqual(Array(3).fill([503, "5"]));
  expect(ms).toBeGreaterThan(15_900);
  expect(ms).toBeLessThan(20_000);
  const seen = stack.current.seen("pod-a", "registry").map(({ method, authorization }) => `${method} ${authorization}`);
  expect(seen.sort()).toEqual(["DELETE bearer", ...["GET none", "GET none", "GET none"], "POST bearer", "PUT bearer"]);
  expect((await putManifest(stack.current, "acme/app", "1", manifest)).status).toBe(201);
}, 40_000);

test("a manifest and a delete for which a Pod needs 20 s are waited for, because it answers other requests meanwhile", async () => {
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:globex/app:pull,push,delete"]);
  pod.answer(async (response, { path }) => {
    if (path !== "/v2/") await sleep(20_000);
    response.writeHead(path === "/v2/" ? 401 : 202).end();
  });
  const statuses = ["PUT", "DELETE"].map(async (method) => {
    const { status } = await client.get("/v2/globex/app/manifests/1", token, {
      method,
      body: method === "PUT" ? "{}" : null,
    });
    return status;
  });
  expect(await Promise.all(statuses)).toEqual([202, 202]);
  const pings = pod.seen.filter(({ path }) => path === "/v2/");
  // While a write waits, the edge pings the Pod after a second and again 15 s later. There are two writes.
  expect(pings.map(({ method, headers }) => [method, headers.authorization])).toEqual(
    Array(4).fill(["GET", undefined]),
  );
}, 40_000);
