import { expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { useStack, withoutDefault } from "../support/toy-stack.ts";

const stack = useStack({
  topology: (text) =>
    `${withoutDefault(text)}\nblocks: { acme/leaked: "Withdrawn." }\n`
      .replace("  pod-a:\n", '  pod-a:\n    state: read-only\n    reason: "moving house until noon"\n')
      .replace("  pod-b:\n", '  pod-b:\n    state: down\n    reason: "pod-b is switched off"\n'),
});

test("a read-only Pod serves reads and refuses writes with its reason, in a form that docker shows", async () => {
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:acme/private:pull,push"]);
  expect((await client.get("/v2/acme/private/manifests/1", token)).status).toBe(200);
  const refused = await client.get("/v2/acme/private/blobs/uploads/", token, { method: "POST" });
  expect(refused.status).toBe(403);
  expect(await refused.json()).toEqual({ errors: [{ code: "DENIED", message: "moving house until noon" }] });
});

test("a Pod that is down is not called, not even for tokens", async () => {
  const answer = await fetch(`${stack.current.edge}/jwt/auth?service=registry-edge&scope=repository:globex/hello:pull`);
  expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
  const direct = await fetch(
    `${stack.current.pods["pod-b"].token.direct}/jwt/auth?service=pod-b-registry&scope=repository:globex/hello:pull`,
  );
  const { token } = (await direct.json()) as { token: string };
  const pulled = await createClient(stack.current.edge).get("/v2/globex/hello/manifests/1", `pods.v1.pod-b/${token}`);
  expect([pulled.status, pulled.headers.get("Retry-After")]).toEqual([503, "5"]);
  expect([...stack.current.seen("pod-b", "token"), ...stack.current.seen("pod-b", "registry")]).toEqual([]);
});

test("to a token with an unknown key, a Pod's state and a block look like a name without a Pod", async () => {
  const unknownKey = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.c2ln";
  const client = createClient(stack.current.edge);
  stack.current.clearSeen();
  for (const method of ["GET", "PUT"]) {
    const answers = ["globex/private", "acme/leaked/1", "hooli/private1"].map(async (name) => {
      const sent = `pods.v1.pod-a/${unknownKey}~pod-b/${unknownKey}`;
      const answer = await client.get(`/v2/${name}/manifests/1`, sent, { method });
      const seen = JSON.stringify([answer.status, answer.headers.get("WWW-Authenticate"), await answer.text()]);
      return seen.replaceAll(name, "NAME");
    });
    const [free, ...others] = (await Promise.all(answers)).toReversed();
    expect(others).toEqual([free, free]);
    expect(free).toMatch(/^\[401,.*invalid_token/);
  }
  const refused = await client.get("/v2/acme/private/manifests/2", `pods.v1.pod-a/${unknownKey}`, { method: "PUT" });
  expect([refused.status, refused.headers.get("Location")]).toEqual([401, null]);
  expect([...stack.current.seen("pod-a", "registry"), ...stack.current.seen("pod-b", "registry")]).toEqual([]);
});
