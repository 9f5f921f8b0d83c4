import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import type { SeenRequest } from "../../src/local/taps/seen-requests.ts";
import { parseScopes } from "../../src/oci/scope.ts";
import { fuzz, fuzzTimeoutMs } from "../support/fuzz.ts";
import { ownDigests, ownerOf, podIds, useGuardedStack } from "../support/guarded-stack.ts";
import { type HostileRequest, hostOf, isWhole, rawRequest, urlOf } from "../support/hostile-requests.ts";
import { hostileRequest } from "../support/hostile-twists.ts";
import { exchangeRaw, type RawAnswer } from "../support/raw-exchange.ts";
import { expectOciError, expectSafe, headerOf, isPlatforms } from "../support/safe-answer.ts";

const { stack, tokenServices, jwts, materials, secrets } = await useGuardedStack();
const runs = 1_000;
/**
 * After this many requests, the log is checked and the lists of seen requests are cleared. Long lists would slow the test down, because it copies the
 * lists for each request.
 */
const checkedAfter = 200;

test("whatever is sent gets an answer and reaches only its own Pod", { timeout: fuzzTimeoutMs(runs) }, async () => {
  const statuses = new Set<number>();
  let since = 0;
  await fuzz(runs, hostileRequest(materials), async (request) => {
    if (since++ % checkedAfter === 0) await checkLog();
    const before = seen();
    const answer = await exchangeRaw(stack.current.edge, rawRequest(request));
    // After a request that breaks off, the edge's call to the Pod may still be on its way.
    if (!isWhole(request)) await stack.current.edgeSettled();
    const after = seen();
    const reached = podIds.map((pod) => ({
      pod,
      registry: after[pod].registry.slice(before[pod].registry.length),
      token: tokenServices[pod].seen.slice(before[pod].tokens),
    }));
    for (const { pod, registry, token } of reached) {
      for (const each of registry) expectOwn(request, pod, each);
      for (const each of token) expectOwnScopes(request, pod, each);
    }
    const wasReached = reached.some(({ registry, token }) => registry.length + token.length > 0);
    if (answer === null) expect(isWhole(request)).toBe(false);
    else expectAnswer(request, answer, wasReached);
    statuses.add(answer?.status ?? 0);
  });
  await checkLog();
  expect([...statuses]).toEqual(expect.arrayContaining([200, 307, 400, 401, 404, 405]));
});

const seen = () => ({ "pod-a": seenBy("pod-a"), "pod-b": seenBy("pod-b") });
const seenBy = (pod: LocalPodId) => ({
  registry: stack.current.seen(pod, "registry"),
  tokens: tokenServices[pod].seen.length,
});

/** The edge writes a log line only after its answer. One wait is enough for the lines of many requests. */
async function checkLog(): Promise<void> {
  await stack.current.edgeSettled();
  const lines = stack.current.edgeLines();
  expect(lines.filter((line) => [...secrets, "X-Amz-Signature"].some((secret) => line.includes(secret)))).toEqual([]);
  expect(lines.filter((line) => !line.startsWith('{"log":"edge"'))).toEqual([]);
  for (const { path, kvKeys } of stack.current.edgeSeen()) expect(kvKeys, path).toBeLessThanOrEqual(100);
  for (const pod of podIds) expect(stack.current.seen(pod, "storage")).toEqual([]);
  stack.current.clearSeen();
}

function expectAnswer(request: HostileRequest, answer: RawAnswer, wasReached: boolean): void {
  // If the path has too many slashes, the answer is a redirect that repeats the client's own query. A secret in this query is not a leak.
  const ownQuery = answer.status === 301 ? (urlOf(request)?.search ?? "") : "";
  const text = JSON.stringify(answer).replace(ownQuery, "");
  expect(secrets.filter((secret) => text.includes(secret))).toEqual([]);
  if (isPlatforms(answer)) {
    expect(wasReached).toBe(false);
    return;
  }
  const storage = podIds.map((pod) => new URL(stack.current.pods[pod].storage.url).host);
  expectSafe(answer, hostOf(request), storage);
  const isOurs = answer.status >= 400 && !wasReached && request.method !== "HEAD";
  if (isOurs) expectOciError(answer);
  const [location = ""] = headerOf(answer, "location");
  if (/^http/.test(location)) expectRight(request, location);
}

function expectRight(request: HostileRequest, location: string): void {
  const [, name = "", digest = ""] = /^\/v2\/(.*)\/blobs\/([^/]*)$/.exec(urlOf(request)?.pathname ?? "") ?? [];
  const owner = ownerOf(name);
  expect(["GET", "HEAD"]).toContain(request.method);
  expect(ownDigests.get(name)).toContain(digest.replace(/%3a/i, ":"));
  expect(tokenParts(request).get(owner)).toBe(jwts[owner]);
  expect(new URL(location).host).toBe(new URL(stack.current.pods[owner].storage.url).host);
}

/** The token that a request has for each Pod, whether it is good or not. */
function tokenParts({ headers }: HostileRequest): ReadonlyMap<string, string> {
  const values = headers.filter(([name]) => name === "Authorization").map(([, value]) => value.trim());
  const token = (values.length === 1 ? /^bearer ([^ ]+)$/i.exec(values[0] ?? "")?.[1] : undefined) ?? "";
  const bare = podIds.find((pod) => jwts[pod] === token);
  if (bare !== undefined) return new Map([[bare, token]]);
  const parts = token.startsWith("pods.v1.") ? token.slice("pods.v1.".length).split("~") : [];
  return new Map(parts.map((part) => [part.replace(/\/.*/, ""), part.replace(/^[^/]*\//, "")]));
}

function expectOwn(request: HostileRequest, pod: LocalPodId, { method, path, authorizationSha256 }: SeenRequest): void {
  const part = tokenParts(request).get(pod);
  const isForeign = podIds.some((other) => other !== pod && jwts[other] === part);
  expect([part === undefined, isForeign]).toEqual([false, false]);
  expect(authorizationSha256).toBe(createHash("sha256").update(`Bearer ${part}`, "latin1").digest("hex"));
  // If the edge cannot verify a token, it asks the Pod by `GET /v2/` whether the Pod accepts the token.
  if (part !== jwts[pod] && method === "GET" && path === "/v2/") return;
  const got = new URL(path, "http://pod.invalid");
  expect(canonical(got.pathname)).toBe(canonical(urlOf(request)?.pathname ?? ""));
  const name = nameIn(path);
  if (name !== null) expect(ownerOf(name)).toBe(pod);
  const proves = request.method === "GET" && / HEAD \/v2\/.*\/blobs\//.test(` ${method} ${path}`);
  if (!proves) expect(method).toBe(request.method);
  expectReadOnce(method, got);
}

/** A parameter that the edge reads must reach the Pod at most once. A mount's source must be in the same Pod. */
function expectReadOnce(method: string, { pathname, searchParams }: URL): void {
  const upload = /\/blobs\/uploads\/[^/]*$/.test(pathname);
  const read = method === "POST" && upload ? ["digest", "mount", "from"] : upload ? ["digest", "_pod"] : [];
  const page = /\/tags\/list$|^\/v2\/_catalog$/.test(pathname) ? ["n", "last"] : [];
  for (const name of [...read, ...page]) expect(searchParams.getAll(name).length).toBeLessThanOrEqual(1);
  if (method !== "POST") return;
  for (const source of searchParams.getAll("from")) expect(ownerOf(source)).toBe(ownerOf(nameIn(pathname) ?? ""));
}

/** Gives one spelling to all paths of an endpoint. A digest's colon may be escaped. A slash may follow any path of GitLab, and `/blobs/uploads`. */
const canonical = (path: string): string =>
  path.replace(/%3a(?=[^/]*$)/i, ":").replace(/^(\/gitlab\/.*|.*\/blobs\/uploads)\/$/, "$1");

/**
 * Under `/v2/`, the longest name that fits, as a registry's router reads it. Under `/gitlab/v1/`, the shortest. Null if the path names no repository.
 */
function nameIn(path: string): string | null {
  const registry = /^\/v2\/(.+)\/(?:tags\/list|manifests\/[^/]+|referrers\/[^/]+|blobs\/uploads\/[^/]*|blobs\/[^/]+)$/;
  const gitlab = /^\/gitlab\/v1\/repositor(?:ies|y-paths)\/(.+?)\/(?:tags\/.*|repositories\/list\/)?$/;
  const [pathname = ""] = path.split("?");
  return (registry.exec(pathname) ?? gitlab.exec(pathname))?.[1] ?? null;
}

function expectOwnScopes(sent: HostileRequest, pod: LocalPodId, request: TokenRequest): void {
  const [path, query] = request.path.split("?");
  const asked = new URLSearchParams(request.method === "POST" ? request.body : query);
  expect([path, ["GET", "POST"].includes(request.method)]).toEqual(["/jwt/auth", true]);
  expect(asked.getAll("service")).toEqual([`${pod}-registry`]);
  const foreign = parseScopes(asked.getAll("scope")).filter(
    ({ type, name }) => type === "repository" && ownerOf(name) !== pod,
  );
  expect(foreign).toEqual([]);
  // If a request has two credentials, the edge may use either of them, so we check only requests with one.
  const [credential, second] = credentialsOf(sent);
  const isOwn = (credential === materials.password ? "pod-b" : "pod-a") === pod;
  if (second !== undefined || isOwn) return;
  const shown = [request.headers.authorization, asked.get("password"), asked.get("refresh_token")];
  expect(shown.filter((each) => each != null)).toEqual([]);
}

type TokenRequest = (typeof tokenServices)["pod-a"]["seen"][number];

function credentialsOf({ headers, body }: HostileRequest): readonly string[] {
  const basic = headers.filter(([name, value]) => name === "Authorization" && /^basic\s/i.test(value));
  const form = new URLSearchParams(body);
  return [
    ...basic.map(([, value]) =>
      Buffer.from(value.slice(6), "base64")
        .toString()
        .replace(/^[^:]*:/, ""),
    ),
    ...["password", "refresh_token"].flatMap((name) => form.getAll(name)),
  ];
}
