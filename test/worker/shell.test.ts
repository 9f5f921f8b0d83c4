import http from "node:http";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";

const stack = useStack({ seedImages: false });

test.each([
  ["/-/health", 200, '{"status":"ok"}'],
  ["/", 200, "This is a container registry."],
  ["/v2", 301, ""],
  ["/v1/_ping", 404, '"code":"UNSUPPORTED"'],
  ["/favicon.ico", 404, '"code":"UNSUPPORTED"'],
])("the edge itself answers %s, without a KV read or a Pod request", async (path, status, text) => {
  const answer = await createClient(stack.current.edge).get(path);
  expect([answer.status, await answer.text()]).toEqual([status, expect.stringContaining(text)]);
  expect(answer.headers.get("Location")).toBe(status === 301 ? "/v2/" : null);
  await stack.current.edgeSettled();
  expect(stack.current.edgeSeen().at(-1)).toMatchObject({ path, status, kvReads: 0, podRequests: 0 });
});

/** `fetch` cannot send another Host than that of the URL. */
async function getAs(host: string, path: string) {
  const { hostname, port } = new URL(stack.current.edge);
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    http.get({ hostname, port, path, headers: { Host: host } }, resolve).on("error", reject);
  });
  return { status: answer.statusCode, headers: answer.headers, body: await text(answer) };
}

const notHosts = [
  ...['evil.test",x="y', "evil.test,x", "ev%22il.test", "user:secret@evil.test", "evil.test#x", "evil.test?x", "a b"],
  ...["a%2fb", "registry.example.com:99999", "[::1", "127.0.0.256"],
];

test.each(notHosts)("a malformed Host gets 400 and is in no challenge and no Location: %s", async (host) => {
  for (const path of ["/v2/", "/v2/acme/hello/manifests/1", "/v2", "/jwt/auth", "/", "/-/probe"]) {
    const { status, headers, body } = await getAs(host, path);
    expect([path, status, headers["www-authenticate"], headers.location]).toEqual([path, 400, undefined, undefined]);
    expect(JSON.parse(body)).toMatchObject({ errors: [{ code: "UNSUPPORTED" }] });
    expect(body).not.toContain("secret");
  }
  await stack.current.edgeSettled();
  expect(stack.current.edgeSeen().at(-1)).toMatchObject({ outcome: "refused", kvReads: 0, podRequests: 0 });
});

test.each(["registry.example.com", "registry.example.com.:8443", "my_host", "[::1]:5000", "127.0.0.1"])(
  "a good Host is in the realm of the challenge: %s",
  async (host) => {
    const { headers } = await getAs(host, "/v2/");
    expect(headers["www-authenticate"]).toContain(`realm="http://${host}/jwt/auth"`);
  },
);
