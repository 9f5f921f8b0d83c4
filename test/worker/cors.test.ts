import { describe, expect, test } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { privateImage } from "../../src/local/images.ts";
import { type ClientInit, createClient } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack } from "../support/toy-stack.ts";

const ui = "https://ui.example.com";
const manifest = "/v2/acme/private/manifests/1";
const preflight = (origin: string): ClientInit => ({
  method: "OPTIONS",
  headers: {
    Origin: origin,
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization,accept",
  },
});
const corsOf = ({ headers }: Response) => [...headers].filter(([name]) => name.startsWith("access-control-"));
const demo = { Authorization: `Basic ${btoa("demo:demo")}` };

describe("a deployment without CORS_ORIGINS", () => {
  const stack = useStack();

  test("it answers 405 to OPTIONS, and no answer tells a browser that another site may read it", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull"]);
    const answers = [
      await client.get(manifest, null, preflight(ui)),
      await client.get("/jwt/auth", null, preflight(ui)),
      await client.get(manifest, null, { headers: { Origin: ui } }),
      await client.get(manifest, token, { headers: { Origin: ui } }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([405, 405, 401, 200]);
    expect(answers.flatMap(corsOf)).toEqual([]);
    expect(answers.map(({ headers }) => headers.get("Vary"))).toEqual([null, null, null, null]);
  });
});

describe("variable CORS_ORIGINS", () => {
  const corsOrigins = (text: string) =>
    parseConfig({
      DIRECTORY: { get: () => Promise.reject(new Error("not read")), put: async () => {} },
      SERVICE: "registry-edge",
      EDGE_KEYS: JSON.stringify(["A".repeat(43)]),
      CORS_ORIGINS: text,
    }).corsOrigins;

  test.each([
    "*",
    "null",
    "ui.example.com",
    "https://ui.example.com/",
    "https://UI.example.com",
    `${ui}, https://*.test`,
  ])("a text that is not a list of origins stops the deployment with the variable's name: %s", (text) => {
    expect(() => corsOrigins(text)).toThrow(/^variable CORS_ORIGINS\.\d is wrong/);
  });

  test("origins are separated by commas or spaces, and an empty text lists none", () => {
    expect(["", `${ui}, http://localhost:3000`, `${ui} https://b.test`].map(corsOrigins)).toEqual([
      [],
      [ui, "http://localhost:3000"],
      [ui, "https://b.test"],
    ]);
  });
});

describe("a deployment with CORS_ORIGINS", async () => {
  const pod = await startOddPod();
  const stack = useStack({
    topology: asPodB(pod),
    env: { CORS_ORIGINS: `http://localhost:3000, ${ui}` },
  });
  const readable = [
    ["access-control-allow-credentials", "true"],
    ["access-control-allow-origin", ui],
    ["access-control-expose-headers", expect.stringContaining("Docker-Content-Digest, ")],
  ];

  test.each([manifest, "/v2/", "/v2/_catalog", "/v2/globex/app/blobs/uploads/", "/jwt/auth?service=registry-edge"])(
    "it answers the preflight of a listed site itself, without a token, a KV read or a Pod request: %s",
    async (path) => {
      stack.current.clearSeen();
      const answer = await createClient(stack.current.edge).get(path, null, preflight(ui));
      expect([answer.status, await answer.text(), answer.headers.get("Vary")]).toEqual([204, "", "Origin"]);
      expect(corsOf(answer)).toEqual([
        ["access-control-allow-credentials", "true"],
        ["access-control-allow-headers", expect.stringMatching(/^Authorization, Accept, /)],
        ["access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"],
        ["access-control-allow-origin", ui],
        ["access-control-max-age", "600"],
      ]);
      await stack.current.edgeSettled();
      expect(stack.current.edgeSeen().at(-1)).toMatchObject({ outcome: "preflight", kvReads: 0, podRequests: 0 });
      expect([pod.seen, stack.current.seen("pod-a", "registry"), stack.current.seen("pod-a", "token")]).toEqual([
        [],
        [],
        [],
      ]);
    },
  );

  test.each(["https://evil.test", "https://ui.example.com.evil.test", "http://ui.example.com", "null", "*"])(
    "a site that is not listed gets 405 and may read nothing: %s",
    async (origin) => {
      const client = createClient(stack.current.edge);
      const answers = [
        await client.get(manifest, null, preflight(origin)),
        await client.get(manifest, null, { headers: { Origin: origin } }),
        await client.get("/jwt/auth", null, { headers: { Origin: origin, ...demo } }),
      ];
      expect(answers.map(({ status }) => status)).toEqual([405, 401, 200]);
      expect(answers.flatMap(corsOf)).toEqual([]);
      expect(answers.map(({ headers }) => headers.get("Vary"))).toEqual(["Origin", "Origin", "Origin"]);
    },
  );

  test("an OPTIONS that is not a preflight gets 405, and a path outside the registry is not opened", async () => {
    const client = createClient(stack.current.edge);
    expect((await client.get(manifest, null, { method: "OPTIONS", headers: { Origin: ui } })).status).toBe(405);
    const outside = await client.get("/-/probe", null, preflight(ui));
    expect([outside.status, corsOf(outside)]).toEqual([401, []]);
  });

  test("a listed site may read a challenge, a token, a Pod's answer, a redirect and a refusal", async () => {
    const client = createClient(stack.current.edge);
    const fromUi = { headers: { Origin: ui } };
    const token = await client.token(["repository:acme/private:pull"]);
    const answers = [
      await client.get(manifest, null, fromUi),
      await client.get("/jwt/auth?service=registry-edge", null, { headers: { Origin: ui, ...demo } }),
      await client.get(manifest, token, fromUi),
      await client.get(`/v2/acme/private/blobs/${privateImage("acme").layer.digest}`, token, fromUi),
      await client.get("/v2/acme//private/tags/list", token, fromUi),
    ];
    expect(answers.map(({ status }) => status)).toEqual([401, 200, 200, 307, 400]);
    expect(answers.map(corsOf)).toEqual(answers.map(() => readable));
    expect(answers.map(({ headers }) => headers.get("Vary"))).toEqual(answers.map(() => "Origin"));
    expect(answers[0]?.headers.get("Access-Control-Expose-Headers")).toContain("WWW-Authenticate");
  });

  test("a Pod has no say in which sites may read its answers", async () => {
    const own = { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET", Vary: "Accept" };
    pod.answer((response) => void response.writeHead(200, own).end("{}"));
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:globex/app:pull"]);
    const answer = await client.get("/v2/globex/app/tags/list", token, { headers: { Origin: ui } });
    expect([answer.status, corsOf(answer), answer.headers.get("Vary")]).toEqual([200, readable, "Accept, Origin"]);
    const other = await client.get("/v2/globex/app/tags/list", token, { headers: { Origin: "https://evil.test" } });
    expect([other.status, corsOf(other)]).toEqual([200, []]);
    expect(pod.seen.map(({ method }) => method)).toEqual(["GET", "GET"]);
  });
});
