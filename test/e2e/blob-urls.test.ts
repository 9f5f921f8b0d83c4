/** At a real S3 server, a URL that is signed for GET must not work for HEAD, and the other way round. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient, layersOf } from "../support/client.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, realPods } from "./tools.ts";

for (const [pods, tools] of realPods) {
  describeWith(tools, `${pods} on versitygw, behind the edge`, () => {
    let stage: Stage;
    beforeAll(async () => {
      stage = await openStage(pods);
    });
    afterAll(() => stage.close());

    async function askForLayer(method: "GET" | "HEAD") {
      const [layer] = await layersOf(stage.stack, "acme/private");
      const client = createClient(stage.stack.edge);
      const token = await client.token(["repository:acme/private:pull"]);
      const answer = await client.get(`/v2/acme/private/blobs/${layer?.digest ?? ""}`, token, { method });
      return { answer, location: answer.headers.get("Location") ?? "", size: layer?.size ?? 0 };
    }

    test("the URL for a HEAD of a blob answers HEAD with its length, and refuses GET", async () => {
      const { answer, location, size } = await askForLayer("HEAD");
      expect(answer.status).toBe(307);
      const head = await fetch(location, { method: "HEAD" });
      expect([head.status, head.headers.get("Content-Length")]).toEqual([200, String(size)]);
      expect((await fetch(location)).status).toBe(403);
    });

    test("the URL for a GET of a blob gives its bytes and any range, and refuses HEAD", async () => {
      const { location, size } = await askForLayer("GET");
      const bytes = Buffer.from(await (await fetch(location)).arrayBuffer());
      expect(bytes.length).toBe(size);
      const rest = await fetch(location, { headers: { Range: "bytes=10-" } });
      expect([rest.status, Buffer.from(await rest.arrayBuffer())]).toEqual([206, bytes.subarray(10)]);
      expect((await fetch(location, { method: "HEAD" })).status).toBe(403);
    });
  });
}
