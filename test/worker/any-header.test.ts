import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { generateSealingKeys, seal } from "../../src/directory/seal.ts";
import { createClient } from "../support/client.ts";
import { fuzz, fuzzTimeoutMs, wordOf } from "../support/fuzz.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { exchangeRaw } from "../support/raw-exchange.ts";
import { useStack } from "../support/toy-stack.ts";

const pod = await startOddPod();
const sealingKeys = await generateSealingKeys();
const secret = "only the edge knows this";
const sealed = await seal(
  secret,
  { pod: "pod-b", field: "trust.value", scheme: "header", target: pod.url },
  sealingKeys.publicJwk,
);
const trust = JSON.stringify({ kind: "header", name: "X-Edge-Secret", value: sealed });
const stack = useStack({
  sealingKeys,
  seedImages: false,
  topology: (text) => asPodB(pod)(text).replace("  pod-b:\n", `  pod-b:\n    trust: ${trust}\n`),
});
const runs = 400;
let token = "";

beforeAll(async () => {
  pod.answer((response) => void response.writeHead(200).end("{}"));
  token = await createClient(stack.current.edge).token(["repository:globex/app:pull,push"]);
});

/** Headers that a proxy or a registry might believe. `spelled` below writes them in ways that some servers read as the same name. */
const believed = wordOf(`
  Cookie Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Real-IP X-Original-URL X-Original-Host
  X-Rewrite-URL X-HTTP-Method-Override X-Method-Override X-HTTP-Method Keep-Alive Proxy-Authorization Proxy-Authenticate TE Trailer
  Upgrade Expect CF-Connecting-IP CF-Access-Client-Id CF-Access-Client-Secret X-Edge-Secret X-Zot-Api-Client Accept-Encoding PRIVATE-TOKEN JOB-TOKEN Deploy-Token X-JFrog-Art-Api X-Api-Key
  X-Auth-Token Remote-User X-Remote-User X-WebAuth-User X-Auth-Request-User X-Authenticated-User X-SSL-Client-S-DN
  X-Goog-Authenticated-User-Email X-MS-Client-Principal X-Amzn-Oidc-Data X-Client-IP True-Client-IP X-Cluster-Client-IP X-Forwarded
  X-Host X-HTTP-Host-Override X-Envoy-Original-Path Proxy`);
const spelled = fc.oneof(
  believed,
  believed.map((name) => name.toLowerCase()),
  believed.map((name) => name.replaceAll("-", "_")),
);
const passed = wordOf("Accept Range If-None-Match User-Agent Content-Type Content-Encoding X-Own Docker-Upload-UUID");
const value = fc.oneof(
  wordOf("evil.test 1.2.3.4 100-continue gzip DELETE /v2/acme/private/manifests/1 a=b websocket"),
  spelled,
);
const connection = fc
  .array(fc.oneof(spelled, passed, wordOf("close Authorization Host Content-Length Transfer-Encoding X-Edge-Secret")))
  .map((names) => ["Connection", names.join(", ")] as const);
const header = fc.oneof({ arbitrary: fc.tuple(fc.oneof(spelled, passed), value), weight: 5 }, connection);
const request = fc.record({
  method: fc.constantFrom("GET", "PUT"),
  headers: fc.array(header, { maxLength: 8 }),
  content: fc.constantFrom("", "{}", "0\r\n\r\nGET /v2/globex/other/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n"),
  isChunked: fc.boolean(),
});

test("whatever headers a client sends, only the edge tells its Pod who asks, where and how", {
  timeout: fuzzTimeoutMs(runs),
}, async () => {
  const { edge } = stack.current;
  const path = "/v2/globex/app/manifests/1";
  await fuzz(runs, request, async ({ method, headers, content, isChunked }) => {
    const before = pod.seen.length;
    const body = method === "GET" ? "" : content;
    const chunk = body === "" ? "" : `${body.length.toString(16)}\r\n${body}\r\n`;
    const framing = isChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`;
    const own = [`Host: ${new URL(edge).host}`, `Authorization: Bearer ${token}`];
    const lines = [...own, ...headers.map((each) => each.join(": ")), ...(method === "GET" ? [] : [framing])];
    const text = `${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${isChunked && method !== "GET" ? `${chunk}0\r\n\r\n` : body}`;
    const answer = await exchangeRaw(edge, { text, breaksOff: false, isHead: false });
    const seen = pod.seen.slice(before);
    expect([answer?.status, seen.map((each) => [each.method, each.path, each.body])]).toEqual([
      200,
      [[method, path, body]],
    ]);
    expectHonest(seen[0]?.headerLines ?? []);
  });
});

/** `X_Edge_Secret` counts as `x-edge-secret`, because a Pod's framework may read both as one name. */
function expectHonest(lines: readonly (readonly [name: string, value: string])[]): void {
  const named = lines.map(([name, each]) => [name.toLowerCase().replaceAll("_", "-"), each] as const);
  const valuesOf = (name: string) => named.filter(([known]) => known === name).map(([, each]) => each);
  const { host } = new URL(stack.current.edge);
  const ours = ["authorization", "host", "x-edge-secret", "x-forwarded-host", "x-forwarded-proto", "accept-encoding"];
  expect(ours.map(valuesOf)).toEqual([
    [`Bearer ${token.split("/").slice(1).join("/")}`],
    [new URL(pod.url).host],
    [secret],
    [host],
    ["http"],
    ["identity"],
  ]);
  expect(valuesOf("x-forwarded-for").length).toBeLessThanOrEqual(1);
  const others = named.map(([name]) => name).filter((name) => !ours.includes(name) && name !== "x-forwarded-for");
  const passes = /^(accept|range|if-none-match|user-agent|content-type|content-encoding|x-own|docker-upload-uuid)$/;
  const platform = /^(connection|content-length|transfer-encoding|cf-worker|cache-control|pragma)$/;
  expect(others.filter((name) => !passes.test(name) && !platform.test(name))).toEqual([]);
}
