import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createClient } from "../support/client.ts";
import { manifestType } from "../support/image.ts";
import { expectLeavingClientsHarmless } from "../support/leaving-clients.ts";
import { rawClient } from "../support/raw-sockets.ts";
import { openConnections, processIdsNaming } from "./processes.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs, realPods } from "./tools.ts";

const clients = 20;

describe.each([
  ["registry", "docker-registry", needs.registryPods],
  ["distribution-v3", "registry", needs.distributionPods],
] as const)("manifest of a %s Pod", (kind, program, tools) => {
  describeWith(tools, `whose ${clients} clients reset their connections`, () => {
    let stage: Stage;
    let head = "";
    beforeAll(async () => {
      stage = await openStage(kind);
      const token = await createClient(stage.stack.edge).token(["repository:acme/private:pull"]);
      const lines = ["GET /v2/acme/private/manifests/1 HTTP/1.1", "Host: edge", `Accept: ${manifestType}`];
      head = `${[...lines, `Authorization: Bearer ${token}`].join("\r\n")}\r\n\r\n`;
    });
    afterAll(() => stage?.close());

    const open = () => openConnections(Number(new URL(stage.stack.pods["pod-a"].registry.direct).port));
    const ask = async () => {
      const client = await rawClient(stage.stack.edge);
      client.send(head);
      return client;
    };
    const askAll = () => Promise.all(Array.from({ length: clients }, ask));

    it("while the registry is asked: its connections are closed at once", async () => {
      // The stack pushed its own images over connections that are idle now, so we wait until workerd has closed them.
      await expect.poll(open, { timeout: 20_000 }).toBe(0);
      const [registry = 0] = await processIdsNaming(`${program} serve`, stage.dir, "pod-a");
      process.kill(registry, "SIGSTOP");
      try {
        const asking = await askAll();
        await expect.poll(open, { timeout: 5_000 }).toBeGreaterThanOrEqual(clients);
        for (const { socket } of asking) socket.resetAndDestroy();
        await expect.poll(open, { timeout: 2_000 }).toBe(0);
      } finally {
        process.kill(registry, "SIGCONT");
      }
    });

    it("after it has answered: its connections are kept for the next requests, and closed when none comes", async () => {
      for (const client of await askAll()) {
        await expect.poll(() => client.received(), { timeout: 5_000 }).toMatch(/^HTTP\/1\.1 200 /);
        client.socket.resetAndDestroy();
      }
      // workerd looks every 5 s for connections that were not used for 5 s, and closes them.
      await expect.poll(open, { timeout: 20_000 }).toBe(0);
    });
  });
});

describe.each(realPods)("%s Pods", (kind, tools) => {
  describeWith(tools, "whose clients leave in the middle of uploads, manifests and redirects", () => {
    let stage: Stage;
    beforeAll(async () => {
      stage = await openStage(kind);
    });
    afterAll(() => stage?.close());

    it("1,000 of them do no harm: others are answered, nothing is left open, and no Pod counts as down", async () => {
      await expectLeavingClientsHarmless(stage.stack, 1_000);
    });
  });
});
