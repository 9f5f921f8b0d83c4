import { describe, expect, test } from "vitest";
import { type Client, createClient } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const index = JSON.stringify({ schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [] });
const headers = { "Content-Type": "application/vnd.oci.image.index.v1+json" };

describe("catalog of two Pods", () => {
  const stack = useStack({ seedImages: false });
  /** These suffixes sort differently by character and by component. Each name ends in one of them, and every second name is of pod-b. */
  const suffixes = ["a", "a-b", "a/b", "a.b", "a_b", "a0", "ab", "a/b-c", "a/b/c", "b"];
  const names = Array.from({ length: 50 }, (_, group) => suffixes.map((suffix) => `g${group % 7}/${group}${suffix}`))
    .flat()
    .map((name, place) => ({ name: `${place % 2 === 0 ? "acme" : "globex"}/${name}`, place }));
  /** Registries sort names component by component. */
  const sorted = names
    .map(({ name }) => name.split("/"))
    .sort((one, other) => {
      const at = one.findIndex((component, place) => component !== other[place]);
      if (at < 0) return one.length - other.length;
      return other[at] === undefined || (one[at] ?? "") > other[at] ? 1 : -1;
    })
    .map((components) => components.join("/"));

  async function push(client: Client, token: string, name: string) {
    const put = await client.get(`/v2/${name}/manifests/1`, token, { method: "PUT", body: index, headers });
    if (put.status !== 201) throw new Error(`push of ${name} was answered ${put.status}`);
  }

  async function pages(client: Client, token: string, first: string): Promise<string[]> {
    const found: string[] = [];
    for (let next: string | undefined = first; next !== undefined; ) {
      const answer: Response = await client.get(next, token);
      found.push(...((await answer.json()) as { repositories: string[] }).repositories);
      next = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get("Link") ?? "")?.[1];
    }
    return found;
  }

  test("it is their sorted union in pages of every size, with each name once", { timeout: 120_000 }, async () => {
    const client = createClient(stack.current.edge);
    for (let done = 0; done < names.length; done += 50) {
      const some = names.slice(done, done + 50).map(({ name }) => name);
      const token = await client.token(some.map((name) => `repository:${name}:pull,push`));
      await Promise.all(some.map((name) => push(client, token, name)));
    }
    const token = await client.token(["registry:catalog:*"]);
    expect(token.split("~")).toHaveLength(2);
    expect(sorted).toHaveLength(500);
    for (const n of [1, 2, 3, 7, 10, 33, 99, 100, 101, 249, 250, 251, 499, 500, 501, 1000]) {
      expect(await pages(client, token, `/v2/_catalog?n=${n}`), `n=${n}`).toEqual(sorted);
    }
    expect(await pages(client, token, "/v2/_catalog")).toEqual(sorted);
    const after = await pages(client, token, `/v2/_catalog?n=9&last=${sorted[123]}`);
    expect(after).toEqual(sorted.slice(124));
  });
});
