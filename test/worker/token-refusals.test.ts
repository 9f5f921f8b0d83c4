import { describe, expect, test } from "vitest";
import { useStack, withoutDefault } from "../support/toy-stack.ts";

const stack = useStack({ topology: withoutDefault });
const demo = { Authorization: `Basic ${btoa("demo:demo")}` };

async function ask(scope: string | null, headers: Record<string, string> = {}) {
  const query = new URLSearchParams({ service: "registry-edge", ...(scope === null ? {} : { scope }) });
  const answer = await fetch(`${stack.current.edge}/jwt/auth?${query.toString()}`, { headers });
  const received = [...answer.headers].filter(([name]) => name !== "date").map(([name, value]) => `${name}: ${value}`);
  return [answer.status, received.sort((one, other) => one.localeCompare(other)), await answer.text()] as const;
}

describe("without a default Pod", () => {
  test("a stranger's scope without a Pod is refused exactly as one of a private repository", async () => {
    const unassigned = await ask("repository:hooli/app:pull");
    expect(unassigned).toEqual(await ask("repository:acme/private:pull"));
    expect(unassigned[0]).toBe(403);
    expect(stack.current.seen("pod-a", "token")).toHaveLength(1);
  });

  test("a login, which names no repository, is 401 and reaches no Pod", async () => {
    stack.current.clearSeen();
    for (const scope of [null, "repository:hooli/app:pull"]) {
      const [status, , body] = await ask(scope, demo);
      expect([status, JSON.parse(body)]).toMatchObject([401, { errors: [{ code: "UNAUTHORIZED" }] }]);
    }
    expect([...stack.current.seen("pod-a", "token"), ...stack.current.seen("pod-b", "token")]).toEqual([]);
  });
});
