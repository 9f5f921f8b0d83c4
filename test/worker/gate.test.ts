import { describe, expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const unknownKey = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.c2ln";

describe("Pod that is down", () => {
  const stack = useStack({
    topology: (text) => text.replace("  pod-b:\n", '  pod-b:\n    state: down\n    reason: "pod-b is switched off"\n'),
  });
  const get = (path: string, token: string) => createClient(stack.current.edge).get(path, token);

  async function ownToken(): Promise<string> {
    const { direct } = stack.current.pods["pod-b"].token;
    const answer = await fetch(`${direct}/jwt/auth?service=pod-b-registry&scope=repository:globex/hello:pull`);
    const { token } = (await answer.json()) as { token: string };
    return token;
  }

  test.each([
    ["/v2/ with a token with an unknown key", "/v2/", async () => unknownKey],
    ["GitLab's base", "/gitlab/v1/", ownToken],
    ["GitLab's statistics", "/gitlab/v1/statistics/", ownToken],
    ["GitLab's statistics with a token with an unknown key", "/gitlab/v1/statistics/", async () => unknownKey],
    ["a manifest", "/v2/globex/hello/manifests/1", ownToken],
  ])("it is not called through %s", async (_, path, jwt) => {
    const token = `pods.v1.pod-b/${await jwt()}`;
    stack.current.clearSeen();
    const answer = await get(path, token);
    expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
    expect(await answer.json()).toEqual({ errors: [{ code: "UNAVAILABLE", message: "pod-b is switched off" }] });
    expect(stack.current.seen("pod-b", "registry")).toEqual([]);
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
  });

  test("the edge itself still says that its token is good", async () => {
    stack.current.clearSeen();
    expect((await get("/v2/", `pods.v1.pod-b/${await ownToken()}`)).status).toBe(200);
    expect(stack.current.seen("pod-b", "registry")).toEqual([]);
  });
});

describe("default Pod that is down, with `AUTH=none`", () => {
  const stack = useStack({
    env: { AUTH: "none" },
    topology: (text) => text.replace("  pod-a:\n", "  pod-a:\n    state: down\n"),
  });

  test.each(["/gitlab/v1/", "/gitlab/v1/statistics/", "/v2/_catalog", "/v2/acme/hello/tags/list"])(
    "it is not called through %s",
    async (path) => {
      stack.current.clearSeen();
      const answer = await fetch(stack.current.edge + path);
      expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
      expect(stack.current.seen("pod-a", "registry")).toEqual([]);
    },
  );
});
