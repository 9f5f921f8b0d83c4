import type { IncomingHttpHeaders } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack } from "../support/toy-stack.ts";

const [attacker, user] = ["192.0.2.66", "198.51.100.1"];
const floodMs = 3_000;
type Received = { readonly path: string; readonly headers: IncomingHttpHeaders };

/** Returns the statuses that one client gets while another client sends requests that the Pod's proxy refuses. */
async function duringFlood(attack: () => Promise<Response>, ask: () => Promise<number>): Promise<ReadonlySet<number>> {
  const statuses = new Set<number>();
  const endsAtMs = performance.now() + floodMs;
  const isOver = () => performance.now() > endsAtMs;
  const flood = (async () => {
    while (!isOver()) await (await attack()).arrayBuffer();
  })();
  while (!isOver()) {
    await sleep(100);
    statuses.add(await ask());
  }
  await flood;
  return statuses;
}
const pings = (seen: readonly Received[], path: string) => seen.filter((each) => each.path === path).length;
/** The edge may send one ping at the start of the flood, and one after each second. */
const mostPings = floodMs / 1_000 + 1;

describe("proxy that refuses one client of a token service", async () => {
  const service = await startOddPod();
  const stack = useStack({ topology: asPodB(service, "TOKEN"), seedImages: false });
  const ask = (address: string, account: string) =>
    fetch(`${stack.current.edge}/jwt/auth?scope=repository:globex/private:pull&account=${account}`, {
      headers: { "CF-Connecting-IP": address },
    });

  test.each<[string, (request: Received) => boolean, number, string]>([
    ["by its address", ({ headers }) => headers["x-forwarded-for"] === attacker, 503, "docker"],
    ["for its URL", ({ path }) => path.includes("bad"), 502, "bad"],
  ])(
    "%s closes the service to no other client, and the service gets few pings",
    async (_, isRefused, status, account) => {
      service.answer((response, request) => void response.writeHead(isRefused(request) ? status : 403).end());
      const ofUser = async () => (await ask(user, "docker")).status;
      expect([...(await duringFlood(() => ask(attacker, account), ofUser))]).toEqual([403]);
      const refused = service.seen.filter(isRefused).length;
      expect(refused).toBeGreaterThan(20);
      expect(pings(service.seen, "/jwt/auth")).toBeGreaterThan(0);
      expect(pings(service.seen, "/jwt/auth")).toBeLessThanOrEqual(mostPings);
    },
  );
});

describe("proxy that refuses one client of a registry", async () => {
  const registry = await startOddPod();
  const stack = useStack({ topology: asPodB(registry), seedImages: false });

  test.each<[string, (request: Received) => boolean, number, string]>([
    ["by its address", ({ headers }) => headers["x-forwarded-for"] === attacker, 503, ""],
    ["for its URL", ({ path }) => path.length > 4_000, 503, `?x=${"x".repeat(5_000)}`],
    ["by its user agent", ({ headers }) => headers["user-agent"] === "attacker", 503, ""],
    // One cause of a 520: the Pod's answer to this client has headers that are too long for Cloudflare.
    ["with Cloudflare's 520", ({ headers }) => headers["user-agent"] === "attacker", 520, ""],
  ])(
    "%s closes the registry to no other client, and the registry gets few pings",
    async (_, isRefused, code, query) => {
      registry.answer((response, request) => {
        const status = request.path === "/v2/" ? 401 : isRefused(request) ? code : 404;
        response.writeHead(status).end();
      });
      const client = createClient(stack.current.edge);
      const token = await client.token(["repository:globex/app:pull"]);
      const ask = (address: string, agent: string, more = "") =>
        client.get(`/v2/globex/app/manifests/1${more}`, token, {
          headers: { "CF-Connecting-IP": address, "User-Agent": agent },
        });
      const ofUser = async () => (await ask(user, "docker")).status;
      expect([...(await duringFlood(() => ask(attacker, "attacker", query), ofUser))]).toEqual([404]);
      expect(registry.seen.filter(isRefused).length).toBeGreaterThan(20);
      expect(pings(registry.seen, "/v2/")).toBeGreaterThan(0);
      expect(pings(registry.seen, "/v2/")).toBeLessThanOrEqual(mostPings);
    },
  );
});
