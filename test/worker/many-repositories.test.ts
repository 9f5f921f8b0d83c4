import { decodeJwt } from "jose";
import { beforeAll, expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { forgetDepth, useStack } from "../support/toy-stack.ts";

const stack = useStack({ seedImages: false });
// The directory record has no depth here, so the edge looks up every prefix of a name. That is the largest number of reads that a token can cost.
beforeAll(() => forgetDepth(stack.current));

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
  // The edge reads the directory record, two Pods, and the names' assignments in bulk. If it read each name by itself, there would be 120 reads.
  expect(stack.current.kvReads() - kvReads).toBeLessThan(15);
  for (const name of [names[0], names[119]]) {
    const started = await client.get(`/v2/${name}/blobs/uploads/`, token, { method: "POST" });
    expect(started.status).toBe(202);
  }
});

test("a stranger's token for 120 repositories covers only the first ones and lives a minute", async () => {
  const names = Array.from({ length: 120 }, (_, index) => `acme/public/mirror-${index}/image`);
  const query = new URLSearchParams(names.map((name) => ["scope", `repository:${name}:pull`]));
  const ask = async (headers: HeadersInit) => {
    const answer = await fetch(`${stack.current.edge}/jwt/auth?${query}`, { headers });
    const { token, expires_in } = (await answer.json()) as { token: string; expires_in: number };
    const { access } = decodeJwt(token.replace(/^pods\.v1\.pod-a\//, "")) as { access: { name: string }[] };
    return { life: expires_in, granted: access.map(({ name }) => name) };
  };
  const stranger = await ask({});
  expect(stranger.life).toBeLessThanOrEqual(60);
  expect(stranger.granted.length).toBeGreaterThan(15);
  expect(stranger.granted).toEqual(names.slice(0, stranger.granted.length));
  await stack.current.edgeSettled();
  expect(stack.current.edgeSeen().at(-1)?.kvKeys).toBeLessThanOrEqual(100);
  stack.current.clearSeen();
  const user = await ask({ Authorization: `Basic ${btoa("demo:demo")}` });
  expect(user.granted).toEqual(names);
  // The edge first sends a login, which has no scopes, to learn whether the password is good. Then it asks for all 120 scopes.
  const asked = stack.current.seen("pod-a", "token").map(({ path }) => new URL(path, "http://pod").searchParams);
  expect(asked.map((parameters) => parameters.getAll("scope").length)).toEqual([0, 120]);
});

test("a stranger's token is cut at the same name, whether or not users of the name have been here", async () => {
  const client = createClient(stack.current.edge);
  const used = await client.token(["repository:globex/team/app:pull"]);
  expect((await client.get("/v2/globex/team/app/tags/list", used)).status).toBe(404);
  const lifeOf = async (target: string, count: number): Promise<number> => {
    const names = ["acme/public/image", ...Array.from({ length: count }, (_, index) => `free-${index}`), target];
    const query = new URLSearchParams(names.map((name) => ["scope", `repository:${name}:pull`]));
    const answer = await fetch(`${stack.current.edge}/jwt/auth?${query}`);
    return ((await answer.json()) as { expires_in: number }).expires_in;
  };
  for (const target of ["globex/team/app", "free/team/app"]) {
    expect(await lifeOf(target, 34), target).toBeGreaterThan(60);
    // The names of this request need 42 keys, and a request without credentials gets at most 40.
    for (let round = 0; round < 2; round += 1) expect(await lifeOf(target, 36), target).toBeLessThanOrEqual(60);
  }
});
