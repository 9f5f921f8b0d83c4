import { expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack({ seedImages: false });

test("one token for 120 repositories of two Pods, as the mirror regsync asks for it, opens each of them", async () => {
  const client = createClient(stack.current.edge);
  const names = Array.from({ length: 120 }, (_, index) => {
    const prefix = index % 10 === 0 ? "globex" : "acme";
    return `${prefix}/mirror/of/a-project-with-a-long-name-${index}/image`;
  });
  await stack.current.edgeSettled();
  const kvReads = stack.current.kvReads();
  const token = await client.token(names.map((name) => `repository:${name}:pull,push`));
  await stack.current.edgeSettled();
  expect(token.length).toBeGreaterThan(16 * 1024);
  // These are the directory record, two Pods and a few bulk reads; one read for each name would be 120.
  expect(stack.current.kvReads() - kvReads).toBeLessThan(15);
  for (const name of [names[0], names[119]]) {
    const started = await client.get(`/v2/${name}/blobs/uploads/`, token, { method: "POST" });
    expect(started.status).toBe(202);
  }
});
