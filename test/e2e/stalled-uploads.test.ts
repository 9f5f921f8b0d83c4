import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createClient } from "../support/client.ts";
import { rawClient } from "../support/raw-sockets.ts";
import { megabyte } from "./images.ts";
import { openConnections, processIdsNaming } from "./processes.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

const stallMs = 2_000;

describe.each([
  ["registry", "docker-registry", needs.registryPods],
  ["distribution-v3", "registry", needs.distributionPods],
] as const)("upload to a %s Pod", (kind, program, tools) => {
  describeWith(tools, "whose body moves slowly, or stands still", () => {
    let stage: Stage;
    let token = "";
    beforeAll(async () => {
      stage = await openStage(kind, { env: { STALL_MS: String(stallMs) } });
      token = await client().token(["repository:acme/app:pull,push"]);
    });
    afterAll(() => stage?.close());

    const client = () => createClient(stage.stack.edge);
    const placeOf = (answer: Response): string => answer.headers.get("Location") ?? "";
    const start = async () => placeOf(await client().get("/v2/acme/app/blobs/uploads/", token, { method: "POST" }));
    const registryPort = () => Number(new URL(stage.stack.pods["pod-a"].registry.direct).port);

    it("a client that stops in the middle gets 503, and nothing stays open at the registry", async () => {
      const place = await start();
      const raw = await rawClient(stage.stack.edge);
      const head = [`PATCH ${place} HTTP/1.1`, "Host: edge", `Authorization: Bearer ${token}`];
      raw.send(`${[...head, `Content-Length: ${4 * megabyte}`].join("\r\n")}\r\n\r\n${"x".repeat(megabyte)}`);
      await expect.poll(() => openConnections(registryPort())).toBeGreaterThan(0);
      await expect
        .poll(() => raw.received(), { timeout: 10_000 })
        .toMatch(/^HTTP\/1\.1 503 [\s\S]*\r\nRetry-After: 5\r\n/i);
      // After a complete exchange, the edge keeps its connection to the registry open for some seconds.
      await expect.poll(() => openConnections(registryPort()), { timeout: 20_000 }).toBe(0);
      raw.socket.destroy();
    });

    it("a registry that takes nothing is cut off, and the next upload works", async () => {
      const place = await start();
      const [registry = 0] = await processIdsNaming(`${program} serve`, stage.dir, "pod-a");
      process.kill(registry, "SIGSTOP");
      try {
        const body = new Uint8Array(60 * megabyte);
        const answer = await client().get(place, token, { method: "PATCH", body });
        expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
      } finally {
        process.kill(registry, "SIGCONT");
      }
      await slowPush(1);
    });

    it("a layer that moves takes as long as it takes", async () => slowPush(8));

    async function slowPush(pieces: number): Promise<void> {
      const hash = createHash("sha256");
      const body = new ReadableStream({
        async start(controller) {
          for (let piece = 0; piece < pieces; piece += 1) {
            const bytes = new Uint8Array(megabyte).fill(piece);
            hash.update(bytes);
            controller.enqueue(bytes);
            await sleep(500);
          }
          controller.close();
        },
      });
      const patched = await client().get(await start(), token, { method: "PATCH", body, duplex: "half" });
      expect(patched.status).toBe(202);
      const digest = `sha256:${hash.digest("hex")}`;
      const done = await client().get(`${placeOf(patched)}&digest=${digest}`, token, { method: "PUT" });
      expect(done.status).toBe(201);
    }
  });
});
