import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, test } from "vitest";
import { err, ok, type Result } from "../../src/lib/result.ts";
import { Breaker } from "../../src/net/breaker.ts";
import { callThroughBreaker } from "../../src/net/call-through-breaker.ts";
import type { FetchRequest } from "../../src/net/fetch.ts";
import type { PodFailure } from "../../src/refusal.ts";

type Answer = Result<Response, PodFailure>;

const requestOf = (method: string, url = "https://a.test/v2/acme/app/manifests/1"): FetchRequest => ({
  ...{ url, method, headers: new Headers(), body: null, bodyBytes: 0, deadlineMs: 1_000 },
});
const ping = requestOf("GET", "https://a.test/v2/");
const status = (code: number): Answer => ok(new Response(null, { status: code }));
const failure = (reason: PodFailure["reason"]): Answer => err({ reason, text: `it is ${reason}` });

let breaker: Breaker;
let nowMs: number;
let sent: string[];
let pod: (request: FetchRequest) => Answer | Promise<Answer>;
beforeEach(() => {
  breaker = new Breaker();
  nowMs = 1_800_000_000_000;
  sent = [];
  pod = () => status(200);
});

async function call(method = "GET", silenceMs: number | null = 100): Promise<number | string> {
  const answer = await callThroughBreaker(requestOf(method), {
    breaker,
    service: "pod-a registry",
    send: async (request) => {
      sent.push(`${request.method} ${new URL(request.url).pathname}`);
      return pod(request);
    },
    ping: () => ping,
    silenceMs,
    waitUntil: () => {},
    clock: () => nowMs,
  });
  return answer.ok ? answer.value.status : answer.error.reason;
}
async function callTimes(times: number, method = "GET"): Promise<void> {
  for (let count = 0; count < times; count += 1) await call(method);
}
const isOpen = () => breaker.admit("pod-a registry", nowMs).kind === "refused";

describe("call through the breaker", () => {
  test.each<[string, () => Answer]>([
    ["refused or reset", () => failure("unreachable")],
    ["silent until its deadline", () => failure("silent")],
    ["answered 502", () => status(502)],
    ["answered 503", () => status(503)],
    ["answered 504", () => status(504)],
  ])("after three reads in a row that were %s, the next is refused without a call", async (_, answer) => {
    pod = answer;
    await callTimes(3);
    expect(sent).toHaveLength(4);
    expect(sent.at(-1)).toBe("GET /v2/");
    expect(await call()).toBe("breaker-open");
    expect(await call("PUT")).toBe("breaker-open");
    expect(sent).toHaveLength(4);
  });

  test.each<[string, () => Answer]>([
    ["refuses only one client", () => failure("unreachable")],
    ["never answers only one client", () => failure("silent")],
    ["answers only one client with 503", () => status(503)],
  ])("a proxy that %s closes the service to no other client", async (_, toAttacker) => {
    const seen = new Set<number | string>();
    for (const endsAtMs = nowMs + 60_000; nowMs < endsAtMs; nowMs += 10) {
      pod = ({ url }) => (url === ping.url ? status(401) : toAttacker());
      await call();
      pod = () => status(200);
      if (nowMs % 500 === 250) seen.add(await call());
    }
    expect([...seen]).toEqual([200]);
    expect(sent.filter((each) => each === "GET /v2/").length).toBeLessThanOrEqual(61);
  });

  test("a ping that is answered after a second closes the service only until its answer", async () => {
    pod = async ({ url }) => {
      if (url !== ping.url) return status(503);
      await sleep(1_200);
      return status(401);
    };
    await callTimes(3);
    expect(await call()).toBe("breaker-open");
    await sleep(400);
    expect(await call()).toBe(503);
  });

  test.each([400, 413, 414, 429, 431])(
    "a client to whom a proxy answers %d does not keep a registry that hangs behind it from counting as down",
    async (code) => {
      let calls = 0;
      pod = ({ url }) => {
        if (url === ping.url) return failure("silent");
        calls += 1;
        return calls % 2 === 0 ? status(code) : failure("silent");
      };
      await callTimes(5);
      expect(await call()).toBe("breaker-open");
    },
  );

  test.each<[string, string, () => Answer]>([
    ["reads that end because the client left", "GET", () => failure("client-left")],
    ["reads with an answer that is not HTTP's", "GET", () => failure("bad-answer")],
    ["reads that a service answers with its own 500", "GET", () => status(500)],
    ["reads that a proxy answers with 400", "GET", () => status(400)],
    ["reads that a service answers with 404", "HEAD", () => status(404)],
    ["writes that break", "PATCH", () => failure("unreachable")],
    ["writes that get no answer in time", "PUT", () => failure("silent")],
    ["writes that a proxy answers with 504", "PUT", () => status(504)],
  ])("%s count for nothing, however many there are", async (_, method, answer) => {
    pod = answer;
    await callTimes(10, method);
    expect(sent).toHaveLength(10);
    expect(isOpen()).toBe(false);
  });

  test("a list that is silent until its deadline counts for nothing", async () => {
    pod = () => failure("silent");
    for (let count = 0; count < 5; count += 1) await call("GET", null);
    expect(isOpen()).toBe(false);
  });

  test("silence counts once and while it lasts, also for a client that leaves before the deadline", async () => {
    pod = async ({ url }) => {
      if (url === ping.url) return failure("silent");
      await sleep(60);
      return failure("client-left");
    };
    for (let count = 0; count < 2; count += 1) await call("GET", 30);
    expect(isOpen()).toBe(false);
    await call("GET", 30);
    expect(isOpen()).toBe(true);
  });

  test("an answer that comes after the silence was counted opens the way", async () => {
    pod = async ({ url }) => {
      if (url === ping.url) return failure("silent");
      await sleep(60);
      return status(200);
    };
    for (let count = 0; count < 2; count += 1) expect(await call("GET", 30)).toBe(200);
    const slow = [call("GET", 30), call("GET", 30), call("GET", 30)];
    await sleep(45);
    expect(isOpen()).toBe(true);
    expect(await Promise.all(slow)).toEqual([200, 200, 200]);
    expect(isOpen()).toBe(false);
  });
});

describe("probe of the breaker", () => {
  beforeEach(async () => {
    pod = () => failure("unreachable");
    await callTimes(3);
    sent = [];
    nowMs += 1_000;
  });

  test("a request whose turn it is goes on after a ping that is answered, and opens the way", async () => {
    pod = () => status(401);
    expect([await call("PUT"), await call()]).toEqual([401, 401]);
    expect(sent).toEqual(["GET /v2/", "PUT /v2/acme/app/manifests/1", "GET /v2/acme/app/manifests/1"]);
  });

  test("a ping that is answered opens the way, even if the client whose turn it was leaves", async () => {
    pod = () => status(503);
    await callTimes(3);
    nowMs += 1_000;
    pod = ({ url }) => (url === ping.url ? status(401) : failure("client-left"));
    expect(await call()).toBe("client-left");
    pod = () => status(200);
    expect(await call()).toBe(200);
  });

  test("a service that answers only its pings is called, because the failures may be the clients' own", async () => {
    pod = ({ url }) => (url === ping.url ? status(401) : status(503));
    for (let count = 0; count < 5; count += 1) expect(await call()).toBe(503);
  });

  test.each<[string, () => Answer]>([
    ["fails", () => failure("unreachable")],
    ["gets 503", () => status(503)],
  ])("a request is refused if its ping %s, and is never sent", async (_, answer) => {
    pod = answer;
    expect(await call()).toBe("breaker-open");
    expect(sent).toEqual(["GET /v2/"]);
  });

  test("a request waits half a second for its ping, and one that is answered later opens the way for the next", async () => {
    pod = async () => {
      await sleep(800);
      return status(401);
    };
    const startedAtMs = performance.now();
    expect(await call()).toBe("breaker-open");
    const ms = performance.now() - startedAtMs;
    expect(ms).toBeGreaterThan(480);
    expect(ms).toBeLessThan(780);
    await sleep(400);
    expect(await call()).toBe(401);
  });
});
