import type { OutgoingHttpHeaders } from "node:http";
import { expect, test } from "vitest";
import { startTestGateway } from "../support/gateway.ts";
import { blob, digestOf, mount, orderOf, repository, sends, startSource, uploads } from "../support/mount-orders.ts";
import { serveForTest } from "../support/toy-pod.ts";

const digest = digestOf(blob);
const hex = digest.replace("sha256:", "");
const redirect = (location: string) => ({ Location: location });

/** The third column says whether the answer proves that the registry has the blob. */
test.each<[number, OutgoingHttpHeaders, boolean]>([
  [200, { "Docker-Content-Digest": digest }, true],
  [200, {}, false],
  [200, { "Docker-Content-Digest": digestOf(Buffer.from("other")) }, false],
  [307, redirect(`https://s3.example.com/bucket/sha256/${hex}/data?X-Amz-Signature=1`), true],
  [302, redirect(`https://login.example.com/?next=/v2/${repository}/blobs/${digest}`), false],
  [307, redirect(`https://registry.example.com/v2/${repository}/blobs/${digest}`), false],
  [307, redirect("https://"), false],
])(
  "mount into a registry that answers %d %j to the HEAD of the blob: it is there without a copy: %j",
  async (status, headers, isThere) => {
    const begun: string[] = [];
    const port = await serveForTest(({ method, url }, response) => {
      if (method === "HEAD") return void response.writeHead(status, headers).end();
      begun.push(`${method} ${url}`);
      response.writeHead(503).end();
    });
    const gateway = await startTestGateway({ env: { REGISTRY: `http://127.0.0.1:${port}` } });
    const source = await startSource(sends(blob));
    const answer = await mount(gateway, await orderOf(gateway, source.url));
    expect([answer.status, begun]).toEqual(isThere ? [201, []] : [409, [`POST ${uploads}`]]);
  },
);

test("mount: source and registry get a User-Agent, because firewalls refuse a request without one", async () => {
  const agents: (string | undefined)[] = [];
  const port = await serveForTest(({ method, headers }, response) => {
    agents.push(headers["user-agent"]);
    response.writeHead(method === "HEAD" ? 404 : 503).end();
  });
  const gateway = await startTestGateway({ env: { REGISTRY: `http://127.0.0.1:${port}` } });
  const source = await startSource((request, response) => {
    agents.push(request.headers["user-agent"]);
    sends(blob)(request, response);
  });
  await mount(gateway, await orderOf(gateway, source.url));
  expect(agents).toEqual(["registry-edge", "registry-edge", "registry-edge"]);
});
