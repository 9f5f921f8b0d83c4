import { describe, expect, test } from "vitest";
import { createClient, sha256 } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";
import { carefulAgents, carelessAgents } from "../support/user-agents.ts";

const stack = useStack({ gateways: "pod" });

async function begin(repository: string, userAgent: string) {
  const client = createClient(stack.current.edge);
  const token = await client.token([`repository:${repository}:pull,push`]);
  stack.current.clearSeen();
  const headers = { "User-Agent": userAgent };
  const started = await client.get(`/v2/${repository}/blobs/uploads/`, token, { method: "POST", headers });
  expect(started.status).toBe(202);
  return { client, token, headers, location: started.headers.get("Location") ?? "" };
}

const methodsAt = (service: "registry" | "gateway") => stack.current.seen("pod-b", service).map(({ method }) => method);

describe("gateway that its Pod's operator runs", () => {
  test.each(carelessAgents)(
    "%s may give another host its credentials, so its upload stays on the edge",
    async (_, agent) => {
      const { client, token, headers, location } = await begin("globex/careless", agent);
      expect(location).toMatch(/^\/v2\/globex\/careless\/blobs\/uploads\/[^?]+\?.*_pod=/);
      const body = new TextEncoder().encode(`a layer of ${agent}`);
      const digest = await sha256(body);
      const done = await client.get(`${location}&digest=${digest}`, token, { method: "PUT", body, headers });
      expect([done.status, done.headers.get("Location")]).toEqual([201, `/v2/globex/careless/blobs/${digest}`]);
      expect([methodsAt("registry"), methodsAt("gateway")]).toEqual([["POST", "PUT"], []]);
      expect((await client.get(`/v2/globex/careless/blobs/${digest}`, token)).status).toBe(307);
    },
  );

  test.each(carefulAgents)("%s gives another host nothing, so it goes there", async (_, agent) => {
    const { location } = await begin("globex/careful", agent);
    const { origin, searchParams } = new URL(location, stack.current.edge);
    expect([origin, [...searchParams.keys()]]).toEqual([stack.current.pods["pod-b"].gateway?.url, ["_grant"]]);
  });
});
