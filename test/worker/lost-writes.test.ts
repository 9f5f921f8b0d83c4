import { expect, test } from "vitest";
import { createClient, pushBlob, sha256 } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack({ seedImages: false });

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
  // What writes meet does not open the breaker.
  expect(await pushBlob(stack.current, "acme/app", "layer")).toBe(digest);
}, 40_000);
