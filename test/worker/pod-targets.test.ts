import { describe, expect, test } from "vitest";
import { privateImage } from "../../src/local/images.ts";
import { createClient } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack } from "../support/toy-stack.ts";

const pod = await startOddPod();
const stack = useStack({ topology: asPodB(pod) });
const digest = `sha256:${"d".repeat(64)}`;
const victim = `/v2/acme/private/manifests/${privateImage("acme").manifest.digest}`;
const scopes = ["repository:globex/app:pull,push,delete", "registry:statistics:*"];

async function ask(line: string, status: number, headers: Readonly<Record<string, string>>) {
  const [method = "", path = ""] = line.split(" ");
  pod.answer((response) => void response.writeHead(status, headers).end());
  const client = createClient(stack.current.edge);
  const token = await client.token(scopes);
  stack.current.clearSeen();
  const before = pod.seen.length;
  const answer = await client.get(path, token, { method });
  return { answer, podRequests: pod.seen.length - before };
}

function expectRefused({ answer, podRequests }: Awaited<ReturnType<typeof ask>>) {
  const shown = ["Location", "Link"].map((name) => answer.headers.get(name));
  expect([answer.status, ...shown, podRequests]).toEqual([502, null, null, 1]);
  for (const service of ["registry", "token", "storage"] as const) {
    expect(stack.current.seen("pod-a", service)).toEqual([]);
  }
  expect(stack.current.seen("pod-b", "storage")).toEqual([]);
}

describe("a Pod's Location becomes 502", () => {
  test.each([
    ["DELETE /v2/globex/app/manifests/1", 307, victim],
    ["DELETE /v2/globex/app/manifests/1", 202, victim],
    ["DELETE /v2/globex/app/manifests/1", 404, victim],
    [`DELETE /v2/globex/app/blobs/${digest}`, 307, `/v2/acme/private/blobs/${digest}`],
    ["PUT /v2/globex/app/manifests/1", 308, "/v2/acme/private/manifests/1"],
    ["PUT /v2/globex/app/manifests/1", 201, "/v2/acme/private/manifests/1"],
    ["GET /v2/globex/app/manifests/1", 307, victim],
    ["GET /v2/globex/app/manifests/1", 301, "/v2/globex/app2/manifests/1"],
    ["GET /v2/globex/app/tags/list", 302, "/v2/acme/private/tags/list"],
    [`GET /v2/globex/app/referrers/${digest}`, 307, `/v2/acme/private/referrers/${digest}`],
    ["PATCH /gitlab/v1/repositories/globex/app/", 308, "/gitlab/v1/repositories/acme/private/"],
    ["GET /gitlab/v1/repositories/globex/app/tags/list/", 307, "/gitlab/v1/repositories/acme/private/tags/list/"],
    ["GET /gitlab/v1/statistics/", 307, "/gitlab/v1/repositories/acme/private/"],
    ["POST /v2/globex/app/blobs/uploads/", 202, "/v2/acme/private/blobs/uploads/1"],
  ])("if it leads to another repository: %s with %d to %s", async (line, status, location) => {
    expectRefused(await ask(line, status, { Location: location }));
    expectRefused(await ask(line, status, { Location: pod.url + location }));
    expectRefused(await ask(line, status, { Location: stack.current.edge + location }));
  });

  test.each([
    ["DELETE /v2/globex/app/manifests/1", 307, "/v2/globex/app/blobs/uploads/1"],
    ["POST /v2/globex/app/blobs/uploads/", 307, "/v2/globex/app/blobs/uploads/1"],
    ["GET /v2/globex/app/tags/list", 307, "/v2/globex/app/manifests/1"],
    ["PUT /v2/globex/app/manifests/1", 201, `/v2/globex/app/blobs/${digest}`],
    ["POST /v2/globex/app/blobs/uploads/", 202, "/v2/globex/app/manifests/1"],
  ])("if it leads to another kind of endpoint: %s with %d to %s", async (line, status, location) => {
    expectRefused(await ask(line, status, { Location: location }));
  });

  test.each([
    "/jwt/auth?scope=repository:acme/private:pull",
    "/-/probe?pod=pod-a",
    "/-/health",
    "/v2/",
    "/v2/_catalog",
    "/",
    "../x",
    "//x",
    "/v2/globex/App/manifests/1",
    "/v2//globex/app/manifests/1",
    "/v2/globex/app/manifests/%2e%2e%2f1",
    "/v2/globex/app/manifests/../../../acme/private/manifests/1",
    `/v2/globex/app/manifests/1?${"x".repeat(9000)}`,
  ])("if it leads to a path that is not an endpoint of this repository: %s", async (location) => {
    expectRefused(await ask("GET /v2/globex/app/manifests/1", 307, { Location: location }));
    expectRefused(await ask("DELETE /v2/globex/app/manifests/1", 204, { Location: location }));
  });
});

describe("a Pod's Location that leads on within what was asked for", () => {
  test.each([
    ["GET /v2/globex/app/manifests/1", 307, `/v2/globex/app/manifests/${digest}`],
    ["PUT /v2/globex/app/manifests/1", 201, `/v2/globex/app/manifests/${digest}`],
    ["DELETE /v2/globex/app/manifests/1", 308, "/v2/globex/app/manifests/2"],
    ["PATCH /gitlab/v1/repositories/globex/app/", 308, "/gitlab/v1/repositories/globex/app"],
    ["PUT /v2/globex/app/blobs/uploads/1", 201, `/v2/globex/app/blobs/${digest}`],
    ["POST /v2/globex/app/blobs/uploads/?mount=x&from=globex/b", 201, `/v2/globex/app/blobs/${digest}`],
  ])("it passes: %s with %d to %s", async (line, status, location) => {
    const { answer } = await ask(line, status, { Location: pod.url + location });
    expect([answer.status, answer.headers.get("Location")]).toEqual([status, location]);
  });

  test.each([
    ["POST /v2/globex/app/blobs/uploads/", 202, "7b6c?_state=x", "/v2/globex/app/blobs/uploads/7b6c?_state=x&_pod="],
    ["PATCH /v2/globex/app/blobs/uploads/7b6c", 202, "?_state=y", "/v2/globex/app/blobs/uploads/7b6c?_state=y&_pod="],
    ["PUT /v2/globex/app/manifests/1", 201, digest, `/v2/globex/app/manifests/${digest}`],
  ])("it is relative to the request's URL: %s with %d to %s", async (line, status, location, wanted) => {
    // A reference that is only a digest needs the `./`, because `sha256:` would otherwise be read as a scheme (RFC 3986 §4.2).
    const { answer } = await ask(line, status, { Location: `./${location}`.replace("./?", "?") });
    expect([answer.status, answer.headers.get("Location")]).toEqual([status, expect.stringContaining(wanted)]);
  });

  test.each([
    ["POST /v2/globex/app/blobs/uploads/", 202],
    ["PATCH /v2/globex/app/blobs/uploads/1", 202],
    ["GET /v2/globex/app/blobs/uploads/1", 204],
    ["PATCH /v2/globex/app/blobs/uploads/1", 416],
    ["PUT /v2/globex/app/blobs/uploads/1", 307],
  ])("it gets the upload's pin: %s with %d", async (line, status) => {
    const { answer } = await ask(line, status, { Location: "/v2/globex/app/blobs/uploads/2?_state=a%2Bb" });
    expect(answer.status).toBe(status);
    expect(answer.headers.get("Location")).toMatch(/^\/v2\/globex\/app\/blobs\/uploads\/2\?_state=a%2Bb&_pod=[\w-]+$/);
  });
});

describe("a Pod's redirect of a new upload", () => {
  const uploads = "/v2/globex/app/blobs/uploads/";
  const own = `mount=${digest.replace(":", "%3A")}&from=globex%2Fb`;
  const across = own.replace("globex%2Fb", "acme%2Fprivate");
  const secret = `mount=${digest}&from=acme/private`;

  test.each([
    ["a mount is not added", uploads, `${uploads}?${secret}&x=1`, `${uploads}?x=1`],
    ["a mount is not added by an escaped name", uploads, `${uploads}?%6dount=${digest}&fro%6d=acme/private`, uploads],
    ["a mount is not changed", `${uploads}?${own}`, `${uploads}?x=1&${secret}`, `${uploads}?x=1&${own}`],
    ["a mount is not left out", `${uploads}?${own}`, `${uploads}?x=1`, `${uploads}?x=1&${own}`],
    ["a mount that the Pod did not see is kept", `${uploads}?${across}`, `${uploads}?x=1`, `${uploads}?x=1&${across}`],
  ])("%s: %s with 307 to %s", async (_, path, location, wanted) => {
    const { answer } = await ask(`POST ${path}`, 307, { Location: pod.url + location });
    expect([answer.status, answer.headers.get("Location")]).toEqual([307, wanted]);
  });

  test("two mounts become 502", async () => {
    expectRefused(await ask(`POST ${uploads}`, 307, { Location: `${uploads}?${own}&${secret}` }));
  });
});

describe("a Pod's Link", () => {
  const tags = "/v2/globex/app/tags/list";

  test.each([
    ["another repository", '</v2/acme/private/tags/list?n=1>; rel="next"'],
    ["another repository as the second link", `<${tags}?n=1>; rel="prev", </v2/acme/private/tags/list>; rel="next"`],
    ["another repository in a link without a relation", "</v2/acme/private/tags/list>"],
    ["another kind of endpoint", '</v2/globex/app/manifests/1>; rel="next"'],
    ["the token endpoint", '</jwt/auth?service=x>; rel="next"'],
    ["an endpoint without a name", '</v2/_catalog>; rel="next"'],
    ["a path that is not an endpoint", '</x>; rel="next"'],
    ["a target without brackets", '/v2/acme/private/tags/list; rel="next"'],
    ["a target without brackets after a good one", `<${tags}>; rel="prev", /v2/acme/private/tags/list; rel="next"`],
    ["a bracket that does not close", '</v2/acme/private/tags/list; rel="next"'],
    ["a bracket within brackets", `<</v2/acme/private/tags/list>>; rel="next"`],
    ["a link within a parameter", `<${tags}>; title="</v2/acme/private/tags/list>"`],
    ["a link that is too long", `<${tags}?last=${"x".repeat(9000)}>; rel="next"`],
  ])("it becomes 502 if it leads to %s", async (_, link) => {
    expectRefused(await ask(`GET ${tags}`, 200, { Link: link }));
  });

  test.each([
    ["tags", `GET ${tags}`, `<POD${tags}?n=2&last=b>; rel="next"`],
    ["referrers", `GET /v2/globex/app/referrers/${digest}`, `</v2/globex/app/referrers/${digest}?p=2>;rel=next`],
    ["spaces, escapes and empty elements", `GET ${tags}`, `<POD${tags}?n=2>; rel = "next"; title="page \\"2\\"", ,`],
    [
      "GitLab's tags in both directions",
      "GET /gitlab/v1/repositories/globex/app/tags/list/",
      '<POD/gitlab/v1/repositories/globex/app/tags/list/?n=2&before=a,b>; rel="previous" , ' +
        "<POD/gitlab/v1/repositories/globex/app/tags/list/?n=2&last=c>; rel=\"next\"; title*=UTF-8''x",
    ],
  ])("it becomes a path on the edge for %s", async (_, line, link) => {
    const { answer } = await ask(line, 200, { Link: link.replaceAll("POD", pod.url) });
    expect([answer.status, answer.headers.get("Link")]).toEqual([200, link.replaceAll("POD", "")]);
  });

  test.each(["?n=2&last=b", "list?n=2&last=b"])("it is relative to the request's URL: %s", async (place) => {
    const { answer } = await ask(`GET ${tags}?n=2`, 200, { Link: `<${place}>; rel="next"` });
    expect([answer.status, answer.headers.get("Link")]).toEqual([200, `<${tags}?n=2&last=b>; rel="next"`]);
  });
});
