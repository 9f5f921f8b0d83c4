import { describe, expect, test } from "vitest";
import { createClient, layersOf } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack();

async function pulls(repository: string): Promise<number> {
  const client = createClient(stack.current.edge);
  const token = await client.token([`repository:${repository}:pull`]);
  return (await client.get(`/v2/${repository}/manifests/1`, token)).status;
}

describe("a Pod that fails is 503 with Retry-After, and the other Pod does not notice", () => {
  test.each([
    ["refuse", 2_000],
    ["hang", 11_000],
  ] as const)("%s: within %d ms", async (mode, limitMs) => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull,push"]);
    const [layer] = await layersOf(stack.current, "acme/private");
    await stack.current.setFault("pod-a", "registry", { mode });
    const startedAtMs = performance.now();
    const asked = ["/v2/acme/private/manifests/1", `/v2/acme/private/blobs/${layer?.digest ?? ""}`].map(
      async (path) => {
        const answer = await client.get(path, token);
        return [
          answer.status,
          answer.headers.get("Retry-After"),
          ((await answer.json()) as { errors: { code: string }[] }).errors[0]?.code,
        ];
      },
    );
    expect(await pulls("globex/private")).toBe(200);
    expect(await Promise.all(asked)).toEqual(Array(2).fill([503, "5", "UNAVAILABLE"]));
    expect(performance.now() - startedAtMs).toBeLessThan(limitMs);
    await stack.current.setFault("pod-a", "registry", { mode: "none" });
    expect(await pulls("acme/private")).toBe(200);
  });

  test("a token service that refuses connections", async () => {
    await stack.current.setFault("pod-b", "token", { mode: "refuse" });
    const answer = await fetch(
      `${stack.current.edge}/jwt/auth?service=registry-edge&scope=repository:globex/hello:pull`,
    );
    expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
    await stack.current.setFault("pod-b", "token", { mode: "none" });
  });
});
