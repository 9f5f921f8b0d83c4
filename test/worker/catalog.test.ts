import { expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack();

test("the catalog is its token's own Pod's, and only for those whom the Pod lets", async () => {
  const client = createClient(stack.current.edge);
  const stranger = await client.get("/v2/_catalog");
  expect([stranger.status, stranger.headers.get("WWW-Authenticate")]).toEqual([
    401,
    `Bearer realm="${stack.current.edge}/jwt/auth",service="registry-edge",scope="registry:catalog:*"`,
  ]);
  const token = await client.token(["registry:catalog:*"]);
  const listed = await client.get("/v2/_catalog?n=1", token);
  expect([listed.status, await listed.json()]).toEqual([200, { repositories: ["acme/hello"] }]);
  expect(listed.headers.get("Link")).toBe('</v2/_catalog?last=acme%2Fhello&n=1>; rel="next"');
  const reader = await client.token(["repository:acme/hello:pull"], "reader");
  expect((await client.get("/v2/_catalog", reader)).status).toBe(401);
  expect(stack.current.seen("pod-b", "registry")).toEqual([]);
});
