import { describe, expect, test } from "vitest";
import { createClient, layersOf, sha256 } from "../support/client.ts";
import { manifestText, manifestType, pushImage } from "../support/image.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { keepManifest, pullerOf } from "../support/pull.ts";
import { endFault, useStack, withOutage } from "../support/toy-stack.ts";

/** With `staleSeconds: 0`, the edge answers no pull in place of a registry that is down. So clients see the outage. */
const stack = useStack({ topology: withOutage("staleSeconds: 0") });

async function pulls(repository: string): Promise<number> {
  const client = createClient(stack.current.edge);
  const token = await client.token([`repository:${repository}:pull`]);
  return (await client.get(`/v2/${repository}/manifests/1`, token)).status;
}

describe("outage of one of two Pods", () => {
  test.each([
    ["refuse", 2_000],
    ["hang", 31_000],
  ] as const)(
    "fault %s means 503 with Retry-After within %d ms, for this Pod only",
    async (mode, limitMs) => {
      const client = createClient(stack.current.edge);
      const token = await client.token(["repository:acme/private:pull,push"]);
      const [layer] = await layersOf(stack.current, "acme/private");
      for (const service of ["registry", "token"] as const) await stack.current.setFault("pod-a", service, { mode });
      const startedAtMs = performance.now();
      const blob = (digest: string) => client.get(`/v2/acme/private/blobs/${digest}`, token);
      const asked = [
        client.get("/v2/acme/private/manifests/1", token),
        blob(`sha256:${"0".repeat(64)}`),
        // Writes to a Pod that hangs are in test/drills/lost-writes.test.ts.
        ...(mode === "hang" ? [] : [client.get("/v2/acme/private/blobs/uploads/", token, { method: "POST" })]),
        client.get("/jwt/auth?service=registry-edge&scope=repository:acme/hello:pull"),
      ].map(async (answered) => {
        const answer = await answered;
        const { errors } = (await answer.json()) as { errors: { code: string }[] };
        return [answer.status, answer.headers.get("Retry-After"), errors[0]?.code];
      });
      expect(await pulls("globex/private")).toBe(200);
      // The edge has a proof of this blob, so it redirects without asking the Pod.
      expect((await blob(layer?.digest ?? "")).status).toBe(307);
      expect(await Promise.all(asked)).toEqual(Array(asked.length).fill([503, "5", "UNAVAILABLE"]));
      expect(performance.now() - startedAtMs).toBeLessThan(limitMs);
      for (const service of ["registry", "token"] as const) {
        await stack.current.setFault("pod-a", service, { mode: "none" });
      }
      expect(await pulls("acme/private")).toBe(200);
    },
    60_000,
  );
});

describe("push while the registry fails", () => {
  const stack = useStack({ seedImages: false });

  test.each([
    ["refuses connections", { mode: "refuse" }],
    ["answers 503", { mode: "status", status: 503 }],
  ] as const)(
    "if it %s, a HEAD of what the edge holds gets 503, so that no client takes its push for done; a puller's HEAD is answered",
    async (_, fault) => {
      const repository = `acme/pushed-${fault.mode}`;
      const image = await pushImage(stack.current, repository, 1);
      await keepManifest(stack.current, repository, image.digest);
      const client = createClient(stack.current.edge);
      const [pull, push] = [
        pullerOf(stack.current, repository, await client.token([`repository:${repository}:pull`])),
        pullerOf(stack.current, repository, await client.token([`repository:${repository}:pull,push`])),
      ];
      for (const blob of image.blobs) expect((await pull(`blobs/${blob}`)).status).toBe(307);
      await stack.current.edgeSettled();
      await stack.current.setFault("pod-a", "registry", fault);
      const paths = ["manifests/1", `manifests/${image.digest}`, ...image.blobs.map((blob) => `blobs/${blob}`)];
      const statusesOf = async (ask: typeof pull) => {
        const statuses: number[] = [];
        for (const path of paths) statuses.push((await ask(path, { method: "HEAD" })).status);
        return statuses;
      };
      const [pulled, pushed] = [await statusesOf(pull), await statusesOf(push)];
      await endFault(stack.current, "pod-a");
      expect(pulled).toEqual([200, 200, 307, 307]);
      expect(pushed).toEqual([503, 503, 503, 503]);
    },
  );
});

describe("registry that answers pings and hangs at manifests", async () => {
  const registry = await startOddPod();
  const stack = useStack({ seedImages: false, topology: asPodB(registry) });
  /** containerd 2.3 and docker 29 wait this long for an answer's headers. */
  const containerdWaitsMs = 30_000;

  test("a held tag is answered before containerd gives up", { timeout: 60_000 }, async () => {
    const text = manifestText([]);
    const digest = await sha256(new Uint8Array(Buffer.from(text)));
    const headers = { "Content-Type": manifestType, "Docker-Content-Digest": digest };
    registry.answer((response) => void response.writeHead(200, headers).end(text));
    await keepManifest(stack.current, "globex/app", digest);
    registry.answer((response, { path }) => {
      if (path === "/v2/") response.writeHead(401).end();
    });
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:globex/app:pull"]);
    const signal = AbortSignal.timeout(containerdWaitsMs);
    const answer = await client.get("/v2/globex/app/manifests/1", token, { method: "HEAD", signal });
    expect([answer.status, answer.headers.has("Warning")]).toEqual([200, true]);
  });
});
