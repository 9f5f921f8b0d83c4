import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { createClient, layersOf } from "../support/client.ts";
import { podctl } from "../support/podctl.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack();
const boundMs = 60_000;

/** The test adds two blocks to these, so that there are 10,000 in the end. */
const others = Object.fromEntries(
  Array.from({ length: 9_998 }, (_, index) => [`initech/leaked-${index}`, "withdrawn"]),
);

async function block(name: string, why: string): Promise<void> {
  const file = `${stack.current.stateDir}/stack.json`;
  await writeStackFile(stack.current, file);
  const run = await podctl(["block", name, "--why", why, "--yes"], { env: { PODCTL_STACK: file } });
  expect([run.code, run.stderr]).toEqual([0, ""]);
}

test("a digest and a prefix get 403 DENIED within 60 seconds of podctl block, in an isolate that serves them all the time", {
  timeout: 3 * boundMs,
}, async () => {
  await stack.current.putKv("blocks", JSON.stringify({ v: 1, revision: 1, blocks: others }));
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/private:pull", "repository:acme/hello:pull"]);
  const [layer] = await layersOf(stack.current, "acme/private");
  const blob = `/v2/acme/private/blobs/${layer?.digest}`;
  const manifest = "/v2/acme/hello/manifests/1";
  const statuses = async () => [
    (await client.get(blob, token)).status,
    (await client.get(manifest, token)).status,
    // This manifest is never blocked, although a layer of its repository is.
    (await client.get("/v2/acme/private/manifests/1", token)).status,
  ];
  expect(await statuses()).toEqual([307, 200, 200]);

  await block(layer?.digest ?? "", "this layer is withdrawn");
  await block("acme/hello", "this image is withdrawn");
  const blockedAtMs = Date.now();
  while ((await statuses()).join() !== "403,403,200" && Date.now() - blockedAtMs < boundMs) await sleep(500);
  expect(await statuses()).toEqual([403, 403, 200]);
  for (const [path, message] of [
    [blob, "this layer is withdrawn"],
    [manifest, "this image is withdrawn"],
  ] as const) {
    expect(await (await client.get(path, token)).json()).toEqual({ errors: [{ code: "DENIED", message }] });
  }
});
