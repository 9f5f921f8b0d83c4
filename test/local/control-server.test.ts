import { afterEach, beforeEach, expect, test } from "vitest";
import { createControlServer } from "../../src/local/control-server.ts";
import { serve } from "../../src/local/http-server.ts";
import { startTap, type Tap } from "../../src/local/taps/tap.ts";
import { EdgeLog } from "../../src/local/workerd/edge-log.ts";
import type { KvFault } from "../../src/local/workerd/kv-faults.ts";

const started: { stop(): Promise<void> }[] = [];
let log: EdgeLog;
let tap: Tap;
let control: string;
let kvFault: KvFault | null = null;
let cronRuns = 0;
beforeEach(async () => {
  const service = await serve((_, response) => void response.end("hi"));
  tap = await startTap(service.port, "127.0.0.1");
  log = new EdgeLog();
  const setKvFault = async (fault: KvFault) => {
    kvFault = fault;
  };
  const tapOf = (pod: string, name: string) => (pod === "pod-a" && name === "registry" ? tap : null);
  cronRuns = 0;
  const runCron = async () => {
    cronRuns += 1;
  };
  const server = await serve(
    createControlServer({ tapOf, log, kv: new Promise<never>(() => {}), setKvFault, runCron }),
  );
  started.push(service, tap, server);
  control = `http://127.0.0.1:${server.port}`;
});
afterEach(async () => {
  for (const one of started.splice(0).reverse()) await one.stop();
});

const put = (path: string, body: object) => fetch(control + path, { method: "PUT", body: JSON.stringify(body) });
const listOf = async (path: string) => (await fetch(control + path)).json() as Promise<unknown[]>;

test("the control server lists what a tap has seen, also while the tap refuses connections, and clears it", async () => {
  await fetch(`${tap.url}/v2/`);
  expect((await put("/faults/pod-a/registry", { mode: "refuse" })).status).toBe(204);
  await expect(fetch(`${tap.url}/v2/`)).rejects.toThrow();
  expect(await listOf("/pod-a/registry/-/seen")).toMatchObject([{ method: "GET", path: "/v2/", status: 200 }]);
  expect((await fetch(`${control}/pod-a/registry/-/seen`, { method: "DELETE" })).status).toBe(204);
  expect(await listOf("/pod-a/registry/-/seen")).toEqual([]);
});

test("the control server lists what the edge has answered, and a DELETE of the list does not reset the count of its KV reads", async () => {
  const record = { log: "edge", method: "GET", path: "/v2/", status: 200, kvReads: 2 };
  log.receive({ level: "log", message: JSON.stringify(record) });
  expect(await listOf("/edge/-/seen")).toEqual([{ method: "GET", path: "/v2/", status: 200, kvReads: 2 }]);
  expect((await fetch(`${control}/edge/-/seen`, { method: "DELETE" })).status).toBe(204);
  expect(await listOf("/edge/-/seen")).toEqual([]);
  expect(await (await fetch(`${control}/kv`)).json()).toEqual({ reads: 2 });
});

test("the control server runs the cron trigger once for each POST", async () => {
  expect((await fetch(`${control}/cron`)).status).toBe(404);
  expect((await fetch(`${control}/cron`, { method: "POST" })).status).toBe(204);
  expect(cronRuns).toBe(1);
});

test.each([
  [{ mode: "none" }, 204],
  [{ mode: "hang" }, 204],
  [{ mode: "reset" }, 204],
  [{ mode: "delay", ms: 600_000 }, 204],
  [{ mode: "delay", ms: 600_001 }, 400],
  [{ mode: "delay" }, 400],
  [{ mode: "status" }, 204],
  [{ mode: "status", status: 599 }, 204],
  [{ mode: "status", status: 600 }, 400],
  [{ mode: "odd" }, 400],
  [[], 400],
])("the control server takes or refuses a fault by its members: %j gets %i", async (fault, status) => {
  expect((await put("/faults/pod-a/registry", fault)).status).toBe(status);
});

test("the control server names what there is if a Pod, a service or a path does not exist", async () => {
  for (const path of ["/faults/pod-c/registry", "/faults/pod-a/cache"]) {
    const answer = await put(path, { mode: "none" });
    expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining("pod-a and pod-b")]);
  }
  const answer = await fetch(`${control}/seen`);
  expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining('No "/seen"')]);
});

test.each([
  [{ mode: "none" }, { mode: "none" }],
  [{ mode: "fail" }, { mode: "fail", share: 1 }],
  [
    { mode: "hang", ms: 5 },
    { mode: "hang", share: 1 },
  ],
  [
    { mode: "delay", ms: 2_000, share: 0.9 },
    { mode: "delay", ms: 2_000, share: 0.9 },
  ],
  [{ mode: "delay" }, null],
  [{ mode: "fail", share: 1.1 }, null],
  [{ mode: "fail", share: "all" }, null],
  [{ mode: "refuse" }, null],
  [[], null],
])("the control server takes or refuses a fault of KV by its members: %j is %j", async (fault, expected) => {
  kvFault = null;
  expect((await put("/faults/kv", fault)).status).toBe(expected === null ? 400 : 204);
  expect(kvFault).toEqual(expected);
});
