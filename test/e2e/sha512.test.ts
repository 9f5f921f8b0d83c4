import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import { createClient, pushBlob } from "../support/client.ts";
import { manifestText, putManifest } from "../support/image.ts";
import { clients } from "./clients.ts";
import { succeed } from "./command.ts";
import { openStage, type Stage } from "./stage.ts";
import { allPods, describeWith } from "./tools.ts";

describe.each(allPods)("%s Pods", (kind, tools) => {
  describeWith([...tools, "oras", "regctl"], "image with a sha512 layer", () => scenario(kind));
});

/** A registry stores the layer under its sha256, but clients and the edge know only its sha512. So the edge cannot sign a URL for the layer. */
function scenario(kind: PodKind): void {
  let stage: Stage;
  const layer = Buffer.from("a layer whose digest is sha512");
  const digest = `sha512:${createHash("sha512").update(layer).digest("hex")}`;

  beforeAll(async () => {
    stage = await openStage(kind);
    const { stack } = stage;
    const config = await pushBlob(stack, "acme/sha512", "{}");
    const client = createClient(stack.edge);
    const token = await client.token(["repository:acme/sha512:pull,push"]);
    const started = await client.get("/v2/acme/sha512/blobs/uploads/", token, { method: "POST" });
    const location = `${started.headers.get("Location")}&digest=${digest}`;
    const headers = { "Content-Type": "application/octet-stream" };
    expect((await client.get(location, token, { method: "PUT", body: layer, headers })).status).toBe(201);
    const manifest = JSON.parse(manifestText([config, digest])) as { config: object; layers: object[] };
    Object.assign(manifest.config, { size: 2 });
    Object.assign(manifest.layers[0] ?? {}, { size: layer.length });
    expect((await putManifest(stack, "acme/sha512", "1", JSON.stringify(manifest))).status).toBe(201);
  });
  afterAll(() => stage?.close());

  it("GET and HEAD of the layer lead to its bytes", async () => {
    const { stack } = stage;
    const client = createClient(stack.edge);
    const token = await client.token(["repository:acme/sha512:pull"]);
    const answer = await client.get(`/v2/acme/sha512/blobs/${digest}`, token, { redirect: "follow" });
    expect([answer.status, await answer.text()]).toEqual([200, layer.toString()]);
    const head = await client.get(`/v2/acme/sha512/blobs/${digest}`, token, { method: "HEAD", redirect: "follow" });
    expect([head.status, head.headers.get("Content-Length")]).toEqual([200, String(layer.length)]);
  });

  it.each(["oras", "regctl"] as const)("%s copies it", async (name) => {
    const home = `${stage.dir}/${name}`;
    await mkdir(home);
    const client = clients[name](stage.host, home);
    await succeed(client.login("demo"), `${name}'s login`);
    await succeed(client.copy("acme/sha512:1", `globex/${name}:1`), `${name}'s copy`);
    await succeed(client.pull(`globex/${name}:1`), `${name}'s pull`);
  });
}
