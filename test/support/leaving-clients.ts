import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import pMap from "p-map";
import { expect } from "vitest";
import type { Stack } from "../../src/local/stack.ts";
import { openConnections } from "../e2e/processes.ts";
import { createClient, layersOf } from "./client.ts";
import { manifestType } from "./image.ts";
import { rawClient } from "./raw-sockets.ts";

const repository = "acme/private";
const atOnce = 20;
/**
 * How long the Pod takes to answer. Each client leaves at a random moment within twice this time, so some leave before the answer and some after it.
 */
const podDelayMs = 40;
const announcedBytes = 1_000_000;
const longestIdleMs = 12_000;

/**
 * Makes this number of clients reset their connections in the middle of uploads, manifests and redirects, while another client lists tags. Expects
 * that this other client gets every answer, and that the edge goes on calling the Pod and leaves no connection to it open.
 */
export async function expectLeavingClientsHarmless(stack: Stack, clients: number): Promise<void> {
  const token = await createClient(stack.edge).token([`repository:${repository}:pull,push`]);
  const [layer] = await layersOf(stack, repository);
  const lines = requestLines(layer?.digest ?? "");
  const { host } = new URL(stack.edge);
  stack.clearSeen();
  await stack.setFault("pod-a", "registry", { mode: "delay", ms: podDelayMs });
  let isOver = false;
  const other = pullUntil(stack, token, () => isOver);
  await pMap(
    Array.from({ length: clients }, (_, index) => lines[index % lines.length]?.() ?? ""),
    async (line) => {
      const client = await rawClient(stack.edge);
      const isUpload = line.startsWith("PATCH") || line.startsWith("PUT");
      const headers = [`Host: ${host}`, `Authorization: Bearer ${token}`, `Accept: ${manifestType}`];
      const length = isUpload ? [`Content-Length: ${announcedBytes}`] : [];
      client.send(`${[`${line} HTTP/1.1`, ...headers, ...length].join("\r\n")}\r\n\r\n`);
      if (isUpload) client.send("x".repeat(Math.random() * 200_000));
      await sleep(Math.random() * 2 * podDelayMs);
      client.socket.resetAndDestroy();
    },
    { concurrency: atOnce },
  );
  isOver = true;
  expect(await other).toBeGreaterThan(0);
  await stack.setFault("pod-a", "registry", { mode: "none" });
  await stack.edgeSettled();
  expect(stack.edgeLines().filter((line) => !line.startsWith('{"log":"edge",'))).toEqual([]);
  expect(stack.edgeSeen().length).toBeGreaterThan(clients / 2);
  const left = stack.edgeSeen().filter(({ outcome }) => outcome === "client-left");
  expect(left.length).toBeGreaterThan(clients / 4);
  expect(stack.edgeLines().filter((line) => line.includes("not called, because"))).toEqual([]);
  // After an answer, workerd keeps the connection to the Pod for a next request. Every 5 s it closes the connections that were not used for 5 s.
  const port = Number(new URL(stack.pods["pod-a"].registry.direct).port);
  await expect.poll(() => openConnections(port), { timeout: longestIdleMs }).toBe(0);
}

const requestLines = (proved: string): readonly (() => string)[] => [
  () => `PATCH /v2/${repository}/blobs/uploads/${randomBytes(8).toString("hex")}`,
  () => `GET /v2/${repository}/manifests/1`,
  () => `GET /v2/${repository}/blobs/${proved}`,
  () => `PUT /v2/${repository}/manifests/broken`,
  () => `GET /v2/${repository}/blobs/sha256:${randomBytes(32).toString("hex")}`,
  () => `POST /v2/${repository}/blobs/uploads/`,
  () => `HEAD /v2/${repository}/manifests/1`,
];

async function pullUntil(stack: Stack, token: string, isOver: () => boolean): Promise<number> {
  const client = createClient(stack.edge);
  let pulls = 0;
  for (; !isOver(); pulls += 1) {
    const answer = await client.get(`/v2/${repository}/tags/list`, token);
    expect([answer.status, await answer.json()]).toMatchObject([200, { name: repository }]);
  }
  return pulls;
}
