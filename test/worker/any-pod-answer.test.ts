import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { parseJsonObject } from "../../src/lib/json.ts";
import { createClient } from "../support/client.ts";
import { fuzz, fuzzTimeoutMs, lineOf } from "../support/fuzz.ts";
import { answerText, type OddAnswer, oddAnswer } from "../support/odd-answers.ts";
import { answerFormsToo, asPodB, startOddPod } from "../support/odd-pod.ts";
import { exchangeRaw, type RawAnswer, type RawRequest } from "../support/raw-exchange.ts";
import { expectSafe, headerOf } from "../support/safe-answer.ts";
import { useStack, withOutage } from "../support/toy-stack.ts";

const registry = await startOddPod();
const tokenService = await startOddPod();
const stack = useStack({
  // With `graceSeconds: 0`, the edge grants nothing by itself. So each part of a bundle is a Pod's JWT.
  topology: (text) => withOutage("graceSeconds: 0")(asPodB(tokenService, "TOKEN")(asPodB(registry)(text))),
  seedImages: false,
});
let token = "";
const runs = 600;

const digest = `sha256:${"d".repeat(64)}`;
const requestLine = lineOf(`
  GET /v2/globex/app/blobs/${digest}
  HEAD /v2/globex/app/blobs/${digest}
  DELETE /v2/globex/app/blobs/${digest}
  GET /v2/globex/app/manifests/1
  HEAD /v2/globex/app/manifests/1
  GET /v2/globex/app/manifests/${digest}
  PUT /v2/globex/app/manifests/1
  DELETE /v2/globex/app/manifests/1
  GET /v2/globex/app/tags/list?n=2
  GET /v2/globex/app/referrers/${digest}
  POST /v2/globex/app/blobs/uploads/
  GET /v2/globex/app/blobs/uploads/7b6c
  PATCH /v2/globex/app/blobs/uploads/7b6c
  PUT /v2/globex/app/blobs/uploads/7b6c?digest=${digest}
  GET /v2/_catalog?n=3
  GET /v2/_catalog
  GET /gitlab/v1/repositories/globex/app/
  PATCH /gitlab/v1/repositories/globex/app/
  GET /jwt/auth?scope=repository:globex/app:pull,push
  GET /jwt/auth?scope=repository:globex/app:pull&scope=repository:acme/app:pull
  POST /jwt/auth`);

beforeAll(async () => {
  // At first, the odd token service passes requests on to the toy Pod's token service, so that the test gets a good token.
  const { url } = stack.current.pods["pod-b"].token;
  answerFormsToo(tokenService, url);
  const scopes = ["repository:globex/app:pull,push,delete", "registry:catalog:*"];
  token = await createClient(stack.current.edge).token(scopes);
});

test("whatever a Pod answers, the edge does not fail and sends its client nowhere else", {
  timeout: fuzzTimeoutMs(runs),
}, async () => {
  const { edge, pods } = stack.current;
  const storage = pods["pod-b"].storage.url;
  const values = fc.tuple(requestLine, oddAnswer({ pod: registry.url, storage, edge }));
  const statuses = new Set<number>();
  await fuzz(runs, values, async ([line, odd]) => {
    for (const service of [registry, tokenService]) {
      service.answer((response) => void response.socket?.end(answerText(odd), "latin1"));
    }
    const answer = await exchangeRaw(edge, requestOf(line));
    statuses.add(answer?.status ?? 0);
    // `answer` is null if the edge's body does not end where its headers say. That is right only if the edge streams the Pod's answer, and the Pod's
    // body has the same fault.
    if (answer === null) {
      expect([streams(line, odd), odd.framing]).toEqual([true, expect.not.stringMatching("length")]);
      return;
    }
    expectSafe(answer, new URL(edge).host, [new URL(storage).host]);
    for (const name of ["set-cookie", "alt-svc"]) expect(headerOf(answer, name)).toEqual([]);
    if (line.includes("/jwt/auth")) expectToken(line, answer);
    else if (line.includes("_catalog")) expectCatalog(answer);
    else expectPods(line, odd, answer);
  });
  await stack.current.edgeSettled();
  expect(stack.current.edgeLines().filter((each) => !each.startsWith('{"log":"edge"'))).toEqual([]);
  expect([...statuses]).toEqual(expect.arrayContaining([0, 200, 307, 401, 502, 503]));
});

function requestOf(line: string): RawRequest {
  const [method = ""] = line.split(" ", 1);
  const form = "grant_type=password&username=demo&password=demo&scope=repository:globex/app:pull";
  const content = method === "POST" || method === "PUT" || method === "PATCH" ? form : "";
  const authorization = line.includes("/jwt/auth") ? `Basic ${btoa("demo:demo")}` : `Bearer ${token}`;
  const { host } = new URL(stack.current.edge);
  const headers = [
    `Host: ${host}`,
    `Authorization: ${authorization}`,
    `Content-Length: ${content.length}`,
    "Connection: close",
  ];
  const text = `${[`${line} HTTP/1.1`, ...headers].join("\r\n")}\r\n\r\n${content}`;
  return { text, breaksOff: false, isHead: method === "HEAD" };
}

/** The edge reads catalogs and granted tokens whole, and streams the rest. */
const streams = (line: string, { status }: OddAnswer): boolean =>
  !line.includes("_catalog") && !(line.includes("/jwt/auth") && status < 400);

/** Expects the Pod's status or a redirect to a blob. A 502 or 503 is also right, because it says that the Pod's answer cannot be passed on. */
function expectPods(line: string, odd: OddAnswer, answer: RawAnswer): void {
  expect([odd.status, 307, 502, 503]).toContain(answer.status);
  if (answer.status === 307 && odd.status !== 307) expect(line).toMatch(/^(GET|HEAD) .*\/blobs\/sha256:/);
  const [location] = headerOf(answer, "location");
  if (line.includes("/blobs/uploads/") && location !== undefined) {
    expect(new URL(location, "http://edge.invalid").pathname).toMatch(/^\/v2\/globex\/app\/[^/]+\/[^/]+(\/[^/]*)?$/);
  }
  const links = headerOf(answer, "link").join();
  const targets = [...links.matchAll(/<([^>]*)>/g)].map(([, target = ""]) => target);
  // A location with a host is a blob's URL in its store. We check only locations without a host, which lead to the edge.
  for (const place of [location ?? "", ...targets].filter((text) => text.startsWith("/"))) {
    expect(place).toMatch(/^\/(v2|gitlab\/v1\/repositories)\/globex\/app\//);
    if (!line.includes("/blobs/uploads/")) expect(place).toContain(/\/app\/[a-z]*/.exec(line)?.[0]);
  }
}

/** Expects a bundle with one JWT for each Pod that was asked, and no member that only one Pod understands. */
function expectToken(line: string, answer: RawAnswer): void {
  if (answer.status !== 200) return;
  const { token: bundle, access_token: same, expires_in: seconds, ...others } = parseJsonObject(answer.body) ?? {};
  const parts = String(bundle)
    .replace(/^pods\.v1\./, "")
    .split("~");
  const asked = line.includes("acme") ? /^pod-[ab]\/[\w-]+\.[\w-]+\.[\w-]+$/ : /^pod-b\/[\w-]+\.[\w-]+\.[\w-]+$/;
  for (const part of parts) expect(part).toMatch(asked);
  expect(new Set(parts.map((part) => part.split("/")[0])).size).toBe(parts.length);
  expect([same, Object.keys(others), Number.isInteger(seconds)]).toEqual([bundle, ["issued_at"], true]);
}

function expectCatalog(answer: RawAnswer): void {
  expect([200, 400, 403, 503]).toContain(answer.status);
  const { repositories = [] } = (answer.status === 200 && parseJsonObject(answer.body)) || {};
  expect(repositories).toEqual((repositories as readonly unknown[]).map(() => expect.any(String)));
}
