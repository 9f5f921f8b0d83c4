/** Checks what must hold after any client's scenario. The edge's own log does not prove what the Pods got, so we look at what the taps saw. */
import { expect } from "vitest";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import type { Stack } from "../../src/local/stack.ts";
import type { SeenRequest } from "../../src/local/taps/seen-requests.ts";
import type { EdgeRecord } from "../../src/local/workerd/edge-log.ts";

const prefixes: Readonly<Record<LocalPodId, string>> = { "pod-a": "acme", "pod-b": "globex" };
const podIds = Object.keys(prefixes) as LocalPodId[];

export async function expectPodsApart(stack: Stack): Promise<void> {
  await stack.edgeSettled();
  for (const pod of podIds) {
    expectOwnNamesOnly(pod, stack.seen(pod, "registry"));
    expectOwnScopesOnly(pod, stack.seen(pod, "token"));
    expectSignedAndAnonymous(pod, stack.seen(pod, "storage"));
    expectRedirected(pod, stack);
  }
  const tokensOfA = tokens(stack.seen("pod-a", "registry"));
  const shared = [...tokens(stack.seen("pod-b", "registry"))].filter((token) => tokensOfA.has(token));
  expect(shared, "tokens that were sent to both Pods").toEqual([]);
}

export function blobRedirects(stack: Stack, pod: LocalPodId): number {
  return blobGets(stack.edgeSeen(), pod).length;
}

function expectOwnNamesOnly(pod: LocalPodId, seen: readonly SeenRequest[]): void {
  const foreign = seen.filter((request) => {
    if (isPing(request)) return false;
    const { path } = request;
    const url = new URL(path, "http://pod");
    const names = [url.pathname.replace(/^\/v2\//, ""), ...url.searchParams.getAll("from")];
    return !names.every((name) => name.startsWith(`${prefixes[pod]}/`));
  });
  expect(foreign.map(line), `requests that ${pod}'s registry should not have got`).toEqual([]);
}

/** By a ping, the edge checks that a Pod still answers. A ping names no repository and has no token. */
const isPing = ({ method, path, authorization }: SeenRequest): boolean =>
  method === "GET" && path === "/v2/" && authorization === "none";

function expectOwnScopesOnly(pod: LocalPodId, seen: readonly SeenRequest[]): void {
  const scopes = seen.flatMap(({ path }) => new URL(path, "http://pod").searchParams.getAll("scope"));
  const foreign = scopes.filter((scope) => !scope.startsWith(`repository:${prefixes[pod]}/`));
  expect(foreign, `scopes that ${pod}'s token service should not have got`).toEqual([]);
}

function expectSignedAndAnonymous(pod: LocalPodId, seen: readonly SeenRequest[]): void {
  const bad = seen.filter(
    ({ method, path, status, authorization }) =>
      authorization !== "none" ||
      !(method === "GET" || method === "HEAD") ||
      !(status === 200 || status === 206) ||
      !path.startsWith(`/${pod}/`) ||
      !path.includes("X-Amz-Signature="),
  );
  expect(bad.map(line), `requests that ${pod}'s storage should not have got, or not answered so`).toEqual([]);
}

function expectRedirected(pod: LocalPodId, stack: Stack): void {
  const gets = blobGets(stack.edgeSeen(), pod);
  const otherwise = gets.filter(
    ({ status, outcome, responseBytes }) => status !== 307 || outcome !== "redirected" || responseBytes !== 0,
  );
  expect(otherwise, `blob GETs for ${pod} that were no redirect`).toEqual([]);
  const fromPod = stack.seen(pod, "registry").filter(({ method, path }) => method === "GET" && isBlob(path));
  expect(fromPod.map(line), `blob GETs that reached ${pod}'s registry`).toEqual([]);
  const fetched = stack.seen(pod, "storage").filter(({ method }) => method === "GET");
  expect(fetched.length, `blobs fetched from ${pod}'s storage, against redirects to it`).toBe(gets.length);
}

const blobGets = (records: readonly EdgeRecord[], pod: LocalPodId): readonly EdgeRecord[] =>
  records.filter(({ method, path }) => method === "GET" && path.startsWith(`/v2/${prefixes[pod]}/`) && isBlob(path));
const isBlob = (path: string): boolean => /\/blobs\/sha(256|512):[0-9a-f]+$/.test(path);
const line = ({ method, path, status, authorization }: SeenRequest): string =>
  `${method} ${path} ${status} authorization: ${authorization}`;
const tokens = (seen: readonly SeenRequest[]): ReadonlySet<string> =>
  new Set(seen.flatMap(({ authorizationSha256 }) => authorizationSha256 ?? []));
