import { describe, expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { forgetDepth, readStackKv, useStack } from "../support/toy-stack.ts";

const catalogScope = "registry:catalog:*";

const messageOf = async (answer: Response) =>
  ((await answer.json()) as { errors: { message: string }[] }).errors[0]?.message;

describe("catalog of two Pods", () => {
  const stack = useStack({ seedImages: false });
  test("only a token that grants the catalog on every Pod may read it", async () => {
    const client = createClient(stack.current.edge);
    const stranger = await client.get("/v2/_catalog");
    const challenge = `Bearer realm="${stack.current.edge}/jwt/auth",service="registry-edge",scope="${catalogScope}"`;
    expect([stranger.status, stranger.headers.get("WWW-Authenticate")]).toEqual([401, challenge]);
    const token = await client.token([catalogScope]);
    const [ofA = "", ofB = ""] = token.replace("pods.v1.", "").split("~");
    for (const partial of [ofA, ofB].map((part) => `pods.v1.${part}`)) {
      const answer = await client.get("/v2/_catalog", partial);
      expect([answer.status, answer.headers.get("WWW-Authenticate")]).toEqual([
        401,
        `${challenge},error="insufficient_scope"`,
      ]);
      expect(await messageOf(answer)).toContain("may not list 1 of 2 registries");
    }
    const reader = await client.get("/v2/_catalog", await client.token([catalogScope], "reader"));
    expect([reader.status, await messageOf(reader)]).toEqual([
      401,
      expect.stringContaining("may not list 2 of 2 registries"),
    ]);
  });

  test("it is an error when a Pod is down, not a short list", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token([catalogScope]);
    await stack.current.setFault("pod-b", "registry", { mode: "refuse" });
    const answer = await client.get("/v2/_catalog", token);
    expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
    expect(await answer.json()).toMatchObject({
      errors: [{ message: "1 of 2 registries gave no catalog; try again" }],
    });
    await stack.current.setFault("pod-b", "registry", { mode: "none" });
  });

  test.each(["pod-a", "pod-b"])("it is an error when %s is listed but has no record, not a short list", async (pod) => {
    const client = createClient(stack.current.edge);
    const token = await client.token([catalogScope]);
    const key = `pod/${pod}`;
    const record = (await readStackKv(stack.current, [key])).get(key) ?? "";
    await stack.current.deleteKv(key);
    await stack.current.restartEdge();
    stack.current.clearSeen();
    const answer = await client.get("/v2/_catalog", token);
    expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({
      cause: `the directory lists Pod "${pod}", which has no record`,
    });
    for (const each of ["pod-a", "pod-b"] as const) expect(stack.current.seen(each, "registry")).toEqual([]);
    await stack.current.putKv(key, record);
    await stack.current.restartEdge();
  });

  test("a bad page size gets the registries' own refusal", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token([catalogScope]);
    const direct = await client.token([catalogScope]).then((bundle) => /pod-a\/([^~]+)/.exec(bundle)?.[1] ?? "");
    for (const n of ["-1", "x", "1001"]) {
      const answer = await client.get(`/v2/_catalog?n=${n}`, token);
      const straight = await createClient(stack.current.pods["pod-a"].registry.direct).get(
        `/v2/_catalog?n=${n}`,
        direct,
      );
      expect([answer.status, await answer.text()]).toEqual([straight.status, await straight.text()]);
    }
  });
});

describe("catalog with a bad page size", async () => {
  const pod = await startOddPod();
  const stack = useStack({ topology: asPodB(pod), seedImages: false });

  test("every registry is asked, and one refusal is the answer even if another registry accepts, as distribution 2.8 does", async () => {
    pod.answer((response) => void response.writeHead(200).end('{"repositories":["globex/a"]}'));
    const client = createClient(stack.current.edge);
    const answer = await client.get("/v2/_catalog?n=x", await client.token([catalogScope]));
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      { errors: [{ code: "PAGINATION_NUMBER_INVALID" }] },
    ]);
    expect(pod.seen.map(({ path }) => path)).toEqual(["/v2/_catalog?n=x"]);
  });
});

describe("catalog of a Pod that answers as told", async () => {
  const pod = await startOddPod();
  const stack = useStack({ topology: asPodB(pod), seedImages: false });

  test.each(["first", "prev"])("a page whose only link is its %s one is the last page", async (relation) => {
    const link = { Link: `</v2/_catalog?n=4>; rel="${relation}"` };
    pod.answer((response) => void response.writeHead(200, link).end('{"repositories":["globex/a"]}'));
    const client = createClient(stack.current.edge);
    const answer = await client.get("/v2/_catalog?n=4", await client.token([catalogScope]));
    expect([answer.status, answer.headers.get("Link")]).toEqual([200, null]);
    expect(await answer.json()).toEqual({ repositories: ["globex/a"] });
  });

  test.each(["next", "next last", "last next", "NEXT"])(
    "a page with a link of relation %s has a next page",
    async (relation) => {
      const link = { Link: `</v2/_catalog?n=1&last=globex%2Fa>; rel="${relation}"` };
      pod.answer((response) => void response.writeHead(200, link).end('{"repositories":["globex/a"]}'));
      const client = createClient(stack.current.edge);
      const answer = await client.get("/v2/_catalog?n=1", await client.token([catalogScope]));
      expect([answer.status, answer.headers.get("Link")]).toEqual([200, expect.stringContaining('rel="next"')]);
    },
  );

  test.each([
    ["a lone surrogate", '"\\ud800"'],
    ["nothing", '""'],
    ["upper case", '"Globex/A"'],
    ["a header's length and more", `"${"a".repeat(100_000)}"`],
  ])(
    "an entry that is not a repository name is left out, and the next page begins after the last good name: %s",
    async (_, odd) => {
      const link = { Link: '</v2/_catalog?last=x>; rel="next"' };
      pod.answer((response, { path }) => {
        if (path.includes("last=")) response.writeHead(200).end('{"repositories":["globex/c"]}');
        else response.writeHead(200, link).end(`{"repositories":["globex/a",${odd},"globex/b",${odd}]}`);
      });
      const client = createClient(stack.current.edge);
      const token = await client.token([catalogScope]);
      const first = await client.get("/v2/_catalog?n=4", token);
      expect([first.status, await first.json()]).toEqual([200, { repositories: ["globex/a", "globex/b"] }]);
      const next = /^<([^>]+)>/.exec(first.headers.get("Link") ?? "")?.[1] ?? "";
      const second = await client.get(next, token);
      expect([second.status, await second.json()]).toEqual([200, { repositories: ["globex/c"] }]);
      expect(pod.seen.map(({ path }) => path)).toEqual(["/v2/_catalog?n=4", "/v2/_catalog?n=4&last=globex%2Fb"]);
    },
  );
});

describe("catalog that a Pod refuses to a good token", async () => {
  const pod = await startOddPod();
  const stack = useStack({ topology: asPodB(pod), seedImages: false });

  test.each([
    [403, "{}", 403, "1 of 2 registries refused their catalog"],
    [200, "<html>", 503, "1 of 2 registries gave no catalog; try again"],
    [500, "{}", 503, "1 of 2 registries gave no catalog; try again"],
  ])("a Pod's %d with body %s becomes %d", async (status, body, expected, message) => {
    pod.answer((response) => void response.writeHead(status).end(body));
    const client = createClient(stack.current.edge);
    const answer = await client.get("/v2/_catalog", await client.token([catalogScope]));
    expect([answer.status, await answer.json()]).toMatchObject([expected, { errors: [{ message }] }]);
  });
});

describe("catalog of a Pod that lists more than its own", async () => {
  const pod = await startOddPod();
  const stack = useStack({ topology: asPodB(pod) });
  const others = ["acme/hello", "acme/private"];
  const next = { Link: '</v2/_catalog?last=x>; rel="next"' };
  const page = (names: readonly string[]) => JSON.stringify({ repositories: names });

  async function readAll(first: string) {
    const client = createClient(stack.current.edge);
    const token = await client.token([catalogScope]);
    const pages: string[][] = [];
    for (let path: string | undefined = first; path !== undefined && pages.length < 20; ) {
      const answer: Response = await client.get(path, token);
      if (answer.status !== 200) return { pages, status: answer.status, message: await messageOf(answer) };
      pages.push(((await answer.json()) as { repositories: string[] }).repositories);
      path = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get("Link") ?? "")?.[1];
    }
    return { pages, status: 200 };
  }

  test.each([
    ["another Pod's names", ["acme/hello", "acme/private", "acme/stolen", "globex/a"], ["globex/a"]],
    ["a name that is assigned to no Pod but the default", ["free/app", "globex/a"], ["globex/a"]],
    [
      "a name twice, in a list out of order",
      ["globex/b", "globex/a", "globex/b", "globex/a"],
      ["globex/b", "globex/a"],
    ],
    ["another Pod's name, in a list out of order", ["globex/a", "acme/private"], ["globex/a"]],
  ])("each name comes once and only from its own Pod, although the list has %s", async (_, listed, kept) => {
    pod.answer((response) => void response.writeHead(200).end(page(listed)));
    expect(await readAll("/v2/_catalog")).toEqual({ pages: [[...others, ...kept]], status: 200 });
    expect(pod.seen.map(({ path }) => path)).toEqual(["/v2/_catalog?n=100"]);
    expect(stack.current.seen("pod-b", "storage")).toEqual([]);
  });

  test.each([
    ["begins with its cursor", ["globex/b", "globex/c"]],
    ["is the first page again", ["globex/a", "globex/b"]],
    ["lies before its cursor", ["globex/a"]],
    ["ends before its cursor", ["globex/c", "globex/a"]],
  ])(
    "a page that %s counts as no answer, so the next page is an error and not the same names again",
    async (_, second) => {
      pod.answer((response, { path }) => {
        response.writeHead(200, next).end(page(path.includes("last=") ? second : ["globex/a", "globex/b"]));
      });
      expect(await readAll("/v2/_catalog?n=2")).toEqual({
        pages: [others, ["globex/a", "globex/b"]],
        status: 503,
        message: "1 of 2 registries gave no catalog; try again",
      });
    },
  );

  test("pages without a name of the Pod's own do not hide names of any Pod", async () => {
    pod.answer((response, { path }) => {
      const last = /last=acme%2Fx(\d+)/.exec(path)?.[1];
      if (last === "4") response.writeHead(200).end(page(["globex/a"]));
      else response.writeHead(200, next).end(page([`acme/x${Number(last ?? 0) + 1}`]));
    });
    const { pages, status } = await readAll("/v2/_catalog?n=1");
    expect([status, pages.flat()]).toEqual([200, [...others, "globex/a"]]);
    expect(pod.seen.map(({ path }) => path).slice(0, 2)).toEqual([
      "/v2/_catalog?n=1",
      "/v2/_catalog?n=1&last=acme%2Fx1",
    ]);
  });

  test.each([
    ["4001", 1002],
    ["30000", 1002],
    // The edge ignores an `n` of more than six digits, and gives the client 100 names, as without `n`.
    ["9".repeat(40), 100],
  ])(
    "if the client wants %s names, a Pod is asked for a thousand names, because a page of all would be too large to read",
    async (n, entries) => {
      const names = Array.from({ length: 25_000 }, (_, index) => `globex/${"a".repeat(40)}${index + 10_000}`);
      pod.answer((response, { path }) => {
        const count = Number(/[?&]n=(\d+)/.exec(path)?.[1]);
        response.writeHead(200, next).end(page(names.slice(0, count)));
      });
      const client = createClient(stack.current.edge);
      const answer = await client.get(`/v2/_catalog?n=${n}`, await client.token([catalogScope]));
      expect([answer.status, answer.headers.get("Link")]).toEqual([200, expect.stringContaining("_after=pod-b")]);
      const { repositories } = (await answer.json()) as { repositories: string[] };
      expect(repositories).toEqual([...others, ...names.slice(0, 1000)].slice(0, entries));
      expect(pod.seen.map(({ path }) => path)).toEqual(["/v2/_catalog?n=1000"]);
      expect(stack.current.seen("pod-b", "storage")).toEqual([]);
    },
  );

  test("no more than a thousand names of a page are looked up, and the rest comes with the next page", async () => {
    const names = Array.from({ length: 2500 }, (_, index) => `globex/${String(index).padStart(4, "0")}`);
    pod.answer((response, { path }) => {
      const last = /last=globex%2F(\d+)/.exec(path)?.[1];
      response.writeHead(200).end(page(names.slice(last === undefined ? 0 : Number(last) + 1)));
    });
    stack.current.clearSeen();
    const readsBefore = stack.current.kvReads();
    const { pages, status } = await readAll("/v2/_catalog?n=1000");
    expect([status, pages.flat()]).toEqual([200, [...others, ...names]]);
    // A page of 1,000 names needs 1,001 keys, one of them for the group. One bulk read has at most 100 keys, so eleven reads are enough.
    expect(stack.current.kvReads() - readsBefore).toBeLessThan(12 * pages.length);
  });

  test("a page of names of 20 components costs no more keys than other pages, and all names come", async () => {
    const deep = (index: number) => `globex/${String(index).padStart(4, "0")}${"/a".repeat(18)}`;
    const names = Array.from({ length: 300 }, (_, index) => deep(index));
    pod.answer((response, { path }) => {
      const last = /last=globex%2F(\d+)/.exec(path)?.[1];
      response.writeHead(200).end(page(names.slice(last === undefined ? 0 : Number(last) + 1)));
    });
    await forgetDepth(stack.current);
    stack.current.clearSeen();
    const { pages, status } = await readAll("/v2/_catalog?n=1000");
    expect([status, pages.flat()]).toEqual([200, [...others, ...names]]);
    await stack.current.edgeSettled();
    const keys = stack.current.edgeSeen().flatMap(({ endpoint, kvKeys }) => (endpoint === "catalog" ? kvKeys : []));
    expect(keys).toHaveLength(pages.length);
    for (const each of keys) expect(each).toBeLessThan(1_100);
  });

  test("a page of a quarter of a million entries is looked at only as far as its names count", async () => {
    const names = Array.from({ length: 1000 }, (_, index) => `globex/${String(index).padStart(4, "0")}`);
    const entries = [...names.map((name) => JSON.stringify(name)), ...Array.from({ length: 200_000 }, () => "0")];
    pod.answer((response) => void response.writeHead(200).end(`{"repositories":[${entries.join()}]}`));
    const client = createClient(stack.current.edge);
    const answer = await client.get("/v2/_catalog?n=1000", await client.token([catalogScope]));
    expect([answer.status, answer.headers.get("Link")]).toEqual([200, expect.stringContaining("_after=pod-b")]);
  });
});

describe("catalog of hundreds of Pods", () => {
  const stack = useStack({ seedImages: false });

  test("a token cannot have a part of each, so it gets 401 and no Pod's record is read for it", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token([catalogScope]);
    const pods = ["pod-a", "pod-b", ...Array.from({ length: 498 }, (_, index) => `pod-${index}`)];
    await stack.current.putKv("directory", JSON.stringify({ v: 1, revision: 2, pods, default: "pod-a" }));
    await stack.current.restartEdge();
    for (const [sent, error] of [
      [token, "insufficient_scope"],
      ["pods.v1.pod-a/a.b.c", "invalid_token"],
    ] as const) {
      const answer = await client.get("/v2/_catalog", sent);
      expect([answer.status, answer.headers.get("WWW-Authenticate")]).toEqual([401, expect.stringContaining(error)]);
      expect(await messageOf(answer)).toContain("may not list 492 of 500 registries");
    }
    const asked = await fetch(`${stack.current.edge}/jwt/auth?scope=${catalogScope}`);
    expect([asked.status, await messageOf(asked)]).toEqual([
      400,
      "scopes belong to 500 registries; want at most 8 in one token",
    ]);
    await stack.current.edgeSettled();
    for (const { kvKeys } of stack.current.edgeSeen()) expect(kvKeys).toBeLessThan(10);
  });
});
