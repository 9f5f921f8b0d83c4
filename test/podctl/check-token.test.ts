import { expect, test } from "vitest";
import { fetchToken } from "../../src/podctl/doctor/check-token.ts";
import type { PodUnderTest } from "../../src/podctl/doctor/pod-under-test.ts";
import { startOddPod } from "../support/odd-pod.ts";

const edge = await startOddPod();

test("doctor takes a grant of the edge's own for what it is: a token service that does not answer", async () => {
  const token = "pods.v1.pod-a/edge.eyJh..aXY.dGV4dA.dGFn~pod-b/eyJh.eyJi.c2ln";
  edge.answer((response) => void response.writeHead(200).end(JSON.stringify({ token })));
  const underTest = { pod: { id: "pod-a" }, user: null, way: "through the edge", deployment: { edge: edge.url } };
  const wanted = { type: "repository", name: "acme/app", actions: ["pull"] };
  const question = { service: "registry-edge", wanted, seeClock: () => undefined };
  expect(await fetchToken(underTest as unknown as PodUnderTest, question)).toMatchObject({
    ok: false,
    error: { finding: "token-unreachable", text: expect.stringContaining("does not answer") },
  });
});
