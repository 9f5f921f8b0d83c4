import { describe, expect, test } from "vitest";
import { createClient, layersOf } from "../support/client.ts";
import { useStack, withOutage } from "../support/toy-stack.ts";

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
