import { expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack({ seedImages: false });

test.each([
  ["/-/health", 200, '{"status":"ok"}'],
  ["/", 200, "This is a container registry."],
  ["/v2", 301, ""],
  ["/v1/_ping", 404, '"code":"UNSUPPORTED"'],
  ["/favicon.ico", 404, '"code":"UNSUPPORTED"'],
])("%s, which is no path of a registry, is the edge's own and asks nobody", async (path, status, text) => {
  const answer = await createClient(stack.current.edge).get(path);
  expect([answer.status, await answer.text()]).toEqual([status, expect.stringContaining(text)]);
  expect(answer.headers.get("Location")).toBe(status === 301 ? "/v2/" : null);
  await stack.current.edgeSettled();
  expect(stack.current.edgeSeen().at(-1)).toMatchObject({ path, status, kvReads: 0, podRequests: 0 });
});
