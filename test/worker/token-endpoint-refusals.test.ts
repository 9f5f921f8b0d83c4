import { SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack, withoutDefault } from "../support/toy-stack.ts";

const stack = useStack({ topology: withoutDefault });
const demo = { Authorization: `Basic ${btoa("demo:demo")}` };

async function ask(scope: string | null, headers: Record<string, string> = {}) {
  const query = new URLSearchParams({ service: "registry-edge", ...(scope === null ? {} : { scope }) });
  const answer = await fetch(`${stack.current.edge}/jwt/auth?${query.toString()}`, { headers });
  const received = [...answer.headers].filter(([name]) => name !== "date").map(([name, value]) => `${name}: ${value}`);
  return [answer.status, received.sort((one, other) => one.localeCompare(other)), await answer.text()] as const;
}

describe("token endpoint, anonymous requests", async () => {
  const tokenService = await startOddPod();
  const odd = useStack({ topology: (text) => withoutDefault(asPodB(tokenService, "TOKEN")(text)), seedImages: false });
  const forNothing = await new SignJWT({ exp: Math.floor(Date.now() / 1000) + 300, access: [] })
    .setProtectedHeader({ alg: "HS256" })
    .sign(new Uint8Array(32));
  const askOdd = async (name: string, method: "GET" | "POST", beside: Record<string, string> = {}) => {
    const query = new URLSearchParams({ service: "registry-edge", scope: `repository:${name}:pull`, ...beside });
    const realm = `${odd.current.edge}/jwt/auth`;
    const answer = await (method === "GET" ? fetch(`${realm}?${query}`) : fetch(realm, { method, body: query }));
    return [answer.status, await answer.text()];
  };

  test.each([
    ["401", 401, '{"errors":[{"code":"UNAUTHORIZED","message":"pod-b"}]}'],
    ["403", 403, "no"],
    ["400", 400, '{"error":"invalid_scope"}'],
    ["404", 404, "not here"],
    ["422", 422, "null byte"],
    ["429", 429, "Retry later"],
    ["a token for nothing", 200, JSON.stringify({ token: forNothing })],
  ])("%s from a Pod reads as a name without a Pod, by GET and by POST", async (_, status, body) => {
    tokenService.answer((response) => void response.writeHead(status).end(body));
    for (const method of ["GET", "POST"] as const) {
      const assigned = await askOdd("globex/private", method);
      expect(assigned).toEqual(await askOdd("hooli/private", method));
      expect(assigned[0]).toBe(403);
    }
    expect(tokenService.seen.map(({ method }) => method)).toEqual(["GET", "GET"]);
  });

  test("no Pod is sent a control character, at which it might fail", async () => {
    tokenService.answer((response, { path }) => void response.writeHead(/%0|%1|%7F/.test(path) ? 500 : 403).end());
    const scope = "repository:globex/private:pull";
    const odd = [{ account: "a\0b" }, { client_id: "\x7f" }, { scope: `${scope},\0` }, { scope: `${scope}\x1b` }];
    for (const beside of odd) expect((await askOdd("globex/private", "GET", beside))[0]).toBe(403);
  });

  test("no Pod is sent an account, a client id or a scope that makes a long URL", async () => {
    tokenService.answer((response, { path }) => void response.writeHead(path.length > 1_000 ? 502 : 403).end());
    for (const name of ["account", "client_id"]) {
      expect((await askOdd("globex/private", "GET", { [name]: "a".repeat(10_000) }))[0]).toBe(403);
      expect((await askOdd("globex/private", "GET", { [name]: "a".repeat(256) }))[0]).toBe(403);
    }
    expect(tokenService.seen.map(({ path }) => path.includes("aaa"))).toEqual([false, true, false, true]);
    const longScope = `repository:globex/private:pull,${"a".repeat(10_000)}`;
    expect((await askOdd("globex/private", "GET", { scope: longScope }))[0]).toBe(403);
  });

  test("a Pod's 502 to the long URL of many scopes reads as a name without a Pod, and its 500 to a short one is an outage", async () => {
    tokenService.answer((response, { path }) => void response.writeHead(path.length > 1_000 ? 502 : 500).end());
    const scopesOf = (name: string) => Array.from({ length: 100 }, (_, index) => `repository:${name}${index}:pull`);
    for (const method of ["GET", "POST"] as const) {
      const [assigned, free] = await Promise.all(
        ["globex/private", "hooli/private1"].map((name) => askOdd(name, method, { scope: scopesOf(name).join(" ") })),
      );
      expect(assigned).toEqual(free);
      expect(free?.[0]).toBe(403);
    }
    expect((await askOdd("globex/private", "GET"))[0]).toBe(500);
    expect(tokenService.seen.map(({ path }) => path.length > 1_000)).toEqual([true, true, false]);
  });

  test("a password in a query does not count as one", async () => {
    tokenService.answer((response) => void response.writeHead(403).end("in Pod B's own words"));
    for (const beside of [{ password: "guessed" }, { refresh_token: "guessed" }]) {
      expect(await askOdd("globex/private", "GET", beside)).toEqual(await askOdd("hooli/private", "GET"));
    }
    expect(tokenService.seen.map(({ path }) => path.includes("guessed"))).toEqual([false, false]);
  });

  test.each([
    [500, "text/html", "text/plain"],
    [503, "image/svg+xml", "text/plain"],
    [500, "multipart/x-mixed-replace; boundary=b", "text/plain"],
    [500, "text/html, application/json", "text/plain"],
    [503, "application/jsonp", "text/plain"],
    [500, "Application/JSON; charset=utf-8", "Application/JSON; charset=utf-8"],
    [500, "application/problem+json", "application/problem+json"],
    [500, "text/plain; charset=utf-8", "text/plain; charset=utf-8"],
  ])(
    "a Pod's refusal never runs as a page, because anyone can make a browser open it: %d with %j",
    async (status, type, shown) => {
      const script = "<script>alert(document.domain)</script>";
      tokenService.answer((response) => void response.writeHead(status, { "Content-Type": type }).end(script));
      const answer = await fetch(`${odd.current.edge}/jwt/auth?scope=repository:globex/private:pull`);
      const { headers } = answer;
      const names = ["Content-Type", "Content-Security-Policy", "X-Content-Type-Options"];
      const policy = "default-src 'none'; sandbox";
      expect([answer.status, ...names.map((name) => headers.get(name))]).toEqual([status, shown, policy, "nosniff"]);
      expect(await answer.text()).toBe(script);
    },
  );

  const head = "HTTP/1.1 500 Internal Server Error\r\n";
  test.each([
    ["is not encoded as it says", `${head}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nslow`],
    ["is longer than a refusal can be", `${head}Content-Length: 100000\r\n\r\n${"slow".repeat(25_000)}`],
  ])("a Pod's refusal that %s becomes a whole 502 in OCI form", async (_, text) => {
    tokenService.answer((response) => void response.socket?.end(text));
    const [status, body] = await askOdd("globex/private", "GET");
    expect([status, body]).toEqual([502, expect.stringContaining('{"errors":[{"code":"UNKNOWN"')]);
    expect(body).not.toContain("slow");
  });

  test.each([
    ["refusal that stops", `${head}Content-Length: 9\r\n\r\nslow`],
    ["refusal that breaks off", `${head}Transfer-Encoding: chunked\r\n\r\n4\r\nslow\r\nzz\r\n`],
    ["token that stops", 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"token":"slow'],
  ])("a Pod's %s becomes a whole 503 in OCI form, so that clients come back", async (_, text) => {
    tokenService.answer((response) => void response.socket?.end(text));
    const [status, body] = await askOdd("globex/private", "GET");
    expect([status, body]).toEqual([503, expect.stringContaining('{"errors":[{"code":"UNAVAILABLE"')]);
    expect(body).not.toContain("slow");
  });
});

describe("token endpoint without a default Pod", () => {
  test("a stranger's scope without a Pod is refused exactly as one of a private repository", async () => {
    const unassigned = await ask("repository:hooli/app:pull");
    expect(unassigned).toEqual(await ask("repository:acme/private:pull"));
    expect(unassigned[0]).toBe(403);
    expect(stack.current.seen("pod-a", "token")).toHaveLength(1);
  });

  test.each([
    ["a wrong password", { Authorization: `Basic ${btoa("demo:wrong")}` }, 401],
    ["an empty password", { Authorization: `Basic ${btoa(":")}` }, 401],
    ["a good password", demo, 200],
  ])(
    "with `credentials: shared` %s gets the same answer for an assigned name as for a free one",
    async (_, headers, status) => {
      const withoutToken = async (name: string) => {
        const [got, received, body] = await ask(`repository:${name}:pull`, headers);
        return got === 200 ? [got] : [got, received, body];
      };
      const unassigned = await withoutToken("hooli/app");
      expect(unassigned).toEqual(await withoutToken("globex/private"));
      expect(unassigned[0]).toBe(status);
    },
  );

  test("with `credentials: shared` a login is judged by the first Pod, because all have the same users", async () => {
    stack.current.clearSeen();
    expect((await ask(null, demo))[0]).toBe(200);
    expect([stack.current.seen("pod-a", "token").length, stack.current.seen("pod-b", "token")]).toEqual([1, []]);
  });
});

describe("token endpoint, a made-up password with 200 unknown names", () => {
  const fallback = useStack({ seedImages: false });

  test.each([
    ["without a default Pod", stack],
    ["with a default Pod", fallback],
  ])("%s, it costs one request to a token service", async (_, used) => {
    const { current } = used;
    current.clearSeen();
    const names = Array.from({ length: 200 }, (_, index) => `repository:x${index}/a/b/c:pull`);
    const query = new URLSearchParams({ service: "registry-edge", scope: names.join(" ") });
    const headers = { Authorization: `Basic ${btoa("demo:wrong")}` };
    const answer = await fetch(`${current.edge}/jwt/auth?${query}`, { headers });
    expect([answer.status, await answer.text()]).toEqual([401, expect.stringContaining("log in again")]);
    const seen = (service: "token" | "registry") =>
      (["pod-a", "pod-b"] as const).flatMap((pod) => current.seen(pod, service));
    expect(seen("token").map(({ path, authorization }) => [path.includes("scope"), authorization])).toEqual([
      [false, "basic"],
    ]);
    expect(seen("registry")).toEqual([]);
  });
});
