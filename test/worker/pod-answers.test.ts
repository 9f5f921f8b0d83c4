import { describe, expect, test } from "vitest";
import { type ClientInit, createClient } from "../support/client.ts";
import { answerBlob, asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack } from "../support/toy-stack.ts";

const pod = await startOddPod();
const stack = useStack({ topology: asPodB(pod), seedImages: false });
const digest = `sha256:${"d".repeat(64)}`;

async function ask(path: string, init: ClientInit = {}, headers: Record<string, string> = {}) {
  const client = createClient(stack.current.edge);
  const token = await client.token(["repository:globex/app:pull,push"]);
  const answer = await client.get(`/v2/globex/app/${path}`, token, { ...init, headers });
  return { answer, jwt: token.split("/").slice(1).join("/") };
}

/** The edge drops these headers: other credentials than `Authorization`, identities that only a proxy may assert, and client addresses. */
const identities = {
  "PRIVATE-TOKEN": "glpat-1",
  "JOB-TOKEN": "glcbt-1",
  "X-JFrog-Art-Api": "AKC",
  "Remote-User": "root",
  "X-WebAuth-User": "root",
  "X-Auth-Request-User": "root",
  "X-Client-IP": "1.2.3.4",
  "True-Client-IP": "1.2.3.4",
  "X-Forwarded": "for=1.2.3.4",
};
/** Some servers read the request's path or method from these headers. */
const elsewhere = {
  "X-Original-URL": "/v2/globex/secret/manifests/1",
  "X-Rewrite-URL": "/v2/globex/secret/manifests/1",
  "X-HTTP-Method-Override": "DELETE",
  "X-HTTP-Method": "DELETE",
  "X-Method-Override": "DELETE",
  "X-Host": "evil.test",
  "X-HTTP-Host-Override": "evil.test",
  "X-Envoy-Original-Path": "/v2/globex/secret/manifests/1",
};
const post: ClientInit = { method: "POST" };

describe("headers that pass the edge", () => {
  test("a client's headers that a proxy might believe are dropped or set, and the Pod gets only its own token", async () => {
    pod.answer((response) => void response.writeHead(200).end("{}"));
    const sent = {
      Cookie: "a=b",
      Forwarded: "for=1.2.3.4",
      "X-Forwarded-For": "1.2.3.4",
      "X-Forwarded-Host": "evil.test",
      "X-Forwarded-Proto": "gopher",
      "X-Real-IP": "1.2.3.4",
      X_Forwarded_For: "1.2.3.4",
      ...elsewhere,
      ...identities,
      "User-Agent": "docker/27",
      "Accept-Encoding": "br",
    };
    const { jwt } = await ask("manifests/1", {}, sent);
    const received = pod.seen[0]?.headers ?? {};
    expect(received).toMatchObject({
      authorization: `Bearer ${jwt}`,
      "x-forwarded-host": new URL(stack.current.edge).host,
      "x-forwarded-proto": "http",
      "accept-encoding": "identity",
      "user-agent": "docker/27",
    });
    expect(Object.keys(received)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(cookie|forwarded|x-real-ip)$/)]),
    );
    for (const name of Object.keys({ ...elsewhere, ...identities }))
      expect(received).not.toHaveProperty(name.toLowerCase());
    expect(JSON.stringify(received)).not.toContain("1.2.3.4");
  });

  test.each(["Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"])(
    "a blob's %s is for the storage, and does not reach the Pod that proves the blob",
    async (name) => {
      pod.answer((response, { path, headers }) =>
        name.toLowerCase() in headers ? void response.writeHead(412).end() : answerBlob(response, path),
      );
      const unproven = Buffer.from(name).toString("hex").padEnd(64, "0");
      const { answer } = await ask(`blobs/sha256:${unproven}`, {}, { [name]: "x" });
      expect([answer.status, pod.seen.map(({ method }) => method)]).toEqual([307, ["HEAD"]]);
    },
  );

  test("a Pod's Set-Cookie and Alt-Svc are dropped, and a registry's own headers pass", async () => {
    const own = {
      "Docker-Content-Digest": digest,
      "OCI-Subject": digest,
      "OCI-Filters-Applied": "artifactType",
      Range: "0-9",
      "Docker-Upload-UUID": "u-1",
      Warning: '299 - "deprecated"',
      "RateLimit-Remaining": "7",
    };
    pod.answer(
      (response) => void response.writeHead(200, { ...own, "Set-Cookie": "a=b", "Alt-Svc": 'h3=":443"' }).end("{}"),
    );
    const { answer } = await ask("manifests/1");
    expect(Object.fromEntries(answer.headers)).toMatchObject(
      Object.fromEntries(Object.entries(own).map(([name, value]) => [name.toLowerCase(), value])),
    );
    expect([answer.headers.get("Set-Cookie"), answer.headers.get("Alt-Svc")]).toEqual([null, null]);
  });

  test.each([
    ["Strict-Transport-Security", "max-age=31536000; includeSubDomains"],
    ["Clear-Site-Data", '"*"'],
    ["NEL", '{"report_to":"x","max_age":31536000}'],
    ["Report-To", '{"group":"x","max_age":31536000,"endpoints":[{"url":"https://evil.test"}]}'],
    ["Refresh", "0; url=https://evil.test"],
    ["Service-Worker-Allowed", "/"],
    ["Accept-CH", "Sec-CH-UA-Model"],
    ["Expect-CT", "max-age=86400, enforce"],
    ["Public-Key-Pins", 'pin-sha256="x"; max-age=86400'],
    ["Set-Login", "logged-out"],
    ["Access-Control-Allow-Origin", "*"],
    ["Access-Control-Allow-Credentials", "true"],
    ["Access-Control-Expose-Headers", "*"],
    ["Timing-Allow-Origin", "*"],
    ["Set-Cookie2", "a=b"],
    ["Secure-Session-Registration", '(ES256);path="/evil"'],
    ["Use-As-Dictionary", 'match="/*"'],
  ])("a Pod's header that a browser takes for the whole hostname is dropped: %s", async (name, value) => {
    pod.answer((response) => void response.writeHead(200, { [name]: value, "X-Own": "kept" }).end("{}"));
    const answers = [
      await ask("manifests/1"),
      await ask("manifests/1", { method: "HEAD" }),
      await ask("tags/list"),
      await ask("blobs/uploads/", post),
    ];
    const shown = answers.map(({ answer }) => [answer.status, answer.headers.get("X-Own"), answer.headers.get(name)]);
    expect(shown).toEqual(answers.map(() => [200, "kept", null]));
  });

  test("a Pod's answer never runs as a page of the hostname, whatever its type and policy say", async () => {
    const page = { "Content-Type": "text/html", "Content-Security-Policy": "default-src *" };
    pod.answer((response) => void response.writeHead(200, page).end("<script>alert(1)</script>"));
    for (const path of ["manifests/1", "tags/list", `referrers/${digest}`]) {
      const { headers } = (await ask(path)).answer;
      expect([headers.get("Content-Security-Policy"), headers.get("X-Content-Type-Options")]).toEqual([
        "default-src 'none'; sandbox",
        "nosniff",
      ]);
    }
  });

  test("an encoded manifest keeps the bytes and the encoding that the Pod sent", async () => {
    const bytes = Buffer.from("1f8b08000000000000034b040043beb7e801000000", "hex");
    pod.answer((response) => void response.writeHead(200, { "Content-Encoding": "gzip" }).end(bytes));
    const { answer } = await ask("manifests/1");
    expect([answer.headers.get("Content-Encoding"), await answer.text()]).toEqual(["gzip", "a"]);
  });
});

test.each([
  ["Link", "<".repeat(17_000)],
  ["WWW-Authenticate", `Bearer scope="${"a:b:c ".repeat(3_000)}"`],
  ["Location", "/".repeat(17_000)],
  ["X-Own", "x".repeat(17_000)],
])("an answer with a %s of more than 16 KB becomes 502", async (name, value) => {
  pod.answer((response) => void response.writeHead(401, { [name]: value }).end("{}"));
  const { answer } = await ask("manifests/1");
  expect([answer.status, answer.headers.get(name)?.length ?? 0]).toEqual([502, 0]);
  expect(pod.seen).toHaveLength(1);
});

test("a request of a token with more than 200 headers gets 431 and reaches no Pod", async () => {
  pod.answer((response) => void response.writeHead(200).end("{}"));
  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, "1"]));
  const { answer } = await ask("manifests/1", {}, many(201));
  expect([answer.status, ((await answer.json()) as { errors: object[] }).errors]).toEqual([
    431,
    [expect.objectContaining({ code: "UNSUPPORTED" })],
  ]);
  expect(pod.seen).toEqual([]);
  expect((await ask("manifests/1", {}, many(150))).answer.status).toBe(200);
});

describe("URLs in a Pod's answer", () => {
  test.each([
    ["another host's", () => "http://127.0.0.1:1/v2/globex/app/blobs/uploads/1"],
    ["another repository's", () => `${pod.url}/v2/globex/other/blobs/uploads/1`],
    ["not a URL", () => "http://["],
  ])("a Location of an upload that is %s becomes 502 and is not shown", async (_, location) => {
    pod.answer((response) => void response.writeHead(202, { Location: location() }).end());
    const { answer } = await ask("blobs/uploads/", post);
    expect([answer.status, answer.headers.get("Location")]).toEqual([502, null]);
    expect(await answer.json()).toMatchObject({ errors: [{ code: "UNKNOWN" }] });
    expect(pod.seen).toHaveLength(1);
  });

  test.each([
    ["absolute", () => `${pod.url}/v2/globex/app/blobs/uploads/1?_state=a%2Bb`],
    ["relative", () => "/v2/globex/app/blobs/uploads/1?_state=a%2Bb"],
    [
      "on the edge, as from a Pod that believes X-Forwarded-Host",
      () => {
        return `${stack.current.edge}/v2/globex/app/blobs/uploads/1?_state=a%2Bb`;
      },
    ],
  ])("a Location that is %s becomes a path on the edge, and its state is untouched", async (_, location) => {
    pod.answer((response) => void response.writeHead(202, { Location: location() }).end());
    const { answer } = await ask("blobs/uploads/", post);
    expect(answer.headers.get("Location")).toMatch(/^\/v2\/globex\/app\/blobs\/uploads\/1\?_state=a%2Bb&_pod=[\w-]+$/);
  });

  test("a Link becomes a path on the edge", async () => {
    const link = `<${pod.url}/v2/globex/app/tags/list?n=2&last=b>; rel="next"`;
    pod.answer((response) => void response.writeHead(200, { Link: link }).end("{}"));
    const { answer } = await ask("tags/list?n=2");
    expect(answer.headers.get("Link")).toBe('</v2/globex/app/tags/list?n=2&last=b>; rel="next"');
  });
});

test.each(["http://evil.test", "//evil.test", "/.//evil.test", "/\\evil.test"])(
  "a Location or Link that a client would follow to another host becomes 502: %s",
  async (path) => {
    const location = path.startsWith("/") ? pod.url + path : path;
    pod.answer((response) => void response.writeHead(307, { Location: location }).end());
    const { answer } = await ask("manifests/1");
    expect([answer.status, answer.headers.get("Location")]).toEqual([502, null]);
    pod.answer((response) => void response.writeHead(200, { Link: `<${location}>; rel="next"` }).end("{}"));
    const list = await ask("tags/list");
    expect([list.answer.status, list.answer.headers.get("Link")]).toEqual([502, null]);
  },
);

test.each(["999 Odd", "600 Odd", "101 Switching Protocols"])(
  "a status that cannot be passed on becomes 502 for reads and writes: %s",
  async (status) => {
    pod.answer((response) => {
      response.socket?.end(`HTTP/1.1 ${status}\r\nUpgrade: x\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n`);
    });
    const answers = [
      await ask("manifests/1"),
      await ask("manifests/1", { method: "HEAD" }),
      await ask("blobs/uploads/", post),
    ];
    expect(answers.map(({ answer }) => answer.status)).toEqual([502, 502, 502]);
  },
);

test.each([
  ["GET", "tags/list", 200],
  ["GET", "manifests/1", 200],
  ["PUT", "manifests/1", 201],
] as const)("a tab in a Pod's reason phrase does no harm: %s %s", async (method, path, status) => {
  const head = `HTTP/1.1 ${status} All\twell\r\nContent-Type: application/vnd.oci.image.manifest.v1+json`;
  pod.answer((response) => void response.socket?.end(`${head}\r\nContent-Length: 2\r\n\r\n{}`));
  const { answer } = await ask(path, method === "PUT" ? { method, body: "{}" } : { method });
  expect([answer.status, await answer.text()]).toEqual([status, "{}"]);
});

test("a Pod's 401 gets the edge's realm and service, keeps its error and loses scopes of other names", async () => {
  const scope = "repository:globex/app:pull,push repository:globex/secret:pull";
  const challenge = `Bearer realm="http://pod.test/auth",service="pod-b",scope="${scope}",error="insufficient_scope"`;
  pod.answer((response) => void response.writeHead(401, { "WWW-Authenticate": challenge }).end("{}"));
  const { answer } = await ask("manifests/1", { method: "PUT", body: "{}" });
  expect([answer.status, answer.headers.get("WWW-Authenticate")]).toEqual([
    401,
    `Bearer realm="${stack.current.edge}/jwt/auth",service="registry-edge",scope="repository:globex/app:pull,push",error="insufficient_scope"`,
  ]);
});

test("a Pod's scope that is not of the scope grammar adds no realm and no other parameter to the edge's challenge", async () => {
  const scopes = [
    'x\\",realm=\\"https:globex/app:pull',
    'repository:globex/app:pull\\",realm=\\"https',
    "repository:globex/app:pull,PUSH",
    "repository\\\\:globex/app:pull",
  ];
  for (const scope of scopes) {
    const header = `Bearer realm="http://pod.test/auth",service="pod-b",scope="${scope}"`;
    pod.answer((response) => void response.writeHead(401, { "WWW-Authenticate": header }).end("{}"));
    const { answer } = await ask("manifests/1");
    expect([answer.status, answer.headers.get("WWW-Authenticate")]).toEqual([
      401,
      `Bearer realm="${stack.current.edge}/jwt/auth",service="registry-edge",scope="repository:globex/app:pull"`,
    ]);
  }
});

test.each([
  ["Basic first", ['Basic realm="Registry"', 'Bearer realm="http://pod.test/auth",error="insufficient_scope"']],
  ["Bearer first", ['Bearer realm="http://pod.test/auth",error="insufficient_scope"', 'Basic realm="Registry"']],
  ["in one line", ['Basic realm="a, Bearer error=x", Bearer realm="http://pod.test/auth", error=insufficient_scope']],
])("a Pod's 401 with two challenges keeps the error of its Bearer challenge: %s", async (_, challenges) => {
  pod.answer((response) => void response.writeHead(401, { "WWW-Authenticate": challenges }).end("{}"));
  const { answer } = await ask("manifests/1");
  expect([answer.status, answer.headers.get("WWW-Authenticate")]).toEqual([
    401,
    `Bearer realm="${stack.current.edge}/jwt/auth",service="registry-edge",scope="repository:globex/app:pull",error="insufficient_scope"`,
  ]);
  expect(pod.seen.map(({ method }) => method)).toEqual(["GET"]);
});

describe("HEAD that proves nothing", () => {
  test.each([
    ["206", 206, {}],
    ["500", 500, {}],
    ["301", 301, { Location: "/elsewhere" }],
    ["200 with another digest", 200, { "Docker-Content-Digest": `sha256:${"e".repeat(64)}` }],
    ["a redirect to a host that is not the Pod's", 307, { Location: `http://evil.test/${"d".repeat(64)}` }],
    ["a redirect for another digest", 307, { Location: "http://POD_B_STORAGE/eeee" }],
    ["a proxy's redirect of any path", 307, { Location: `http://POD_B_STORAGE/v2/globex/app/blobs/${digest}` }],
  ])("after %s the Pod answers the GET, and nothing is signed", async (_, status, headers) => {
    const storage = new URL(stack.current.pods["pod-b"].storage.url).host;
    const sent = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, value.replace("POD_B_STORAGE", storage)]),
    );
    pod.answer((response, { method }) => {
      if (method === "HEAD") response.writeHead(status, sent).end();
      else response.writeHead(200).end("the Pod's own bytes");
    });
    const { answer } = await ask(`blobs/${digest}`);
    expect([answer.status, await answer.text()]).toEqual([200, "the Pod's own bytes"]);
    expect(pod.seen.map(({ method }) => method)).toEqual(["HEAD", "GET"]);
  });

  test("a Pod's redirect of the GET to a foreign host becomes 502", async () => {
    pod.answer((response) => void response.writeHead(307, { Location: "http://evil.test/x" }).end());
    const { answer } = await ask(`blobs/${digest}`);
    expect([answer.status, answer.headers.get("Location")]).toEqual([502, null]);
  });
});

describe("a body that is too large for the Pod", () => {
  const nginx =
    "<html>\r\n<head><title>413 Request Entity Too Large</title></head><hr><center>nginx/1.24.0</center></html>";

  test.each([
    [
      "that names no limit",
      nginx,
      "a body of 5 bytes is too large for the registry or for a proxy in front of it; its operator can raise the limit",
    ],
    [
      "that names its limit",
      "<h1>Maximum upload size is 100 MB</h1>",
      "a body of 5 bytes is too large for the registry or for a proxy in front of it, whose limit is 100 MB; its operator can raise the limit",
    ],
    [
      "without a body",
      "",
      "a body of 5 bytes is too large for the registry or for a proxy in front of it; its operator can raise the limit",
    ],
  ])("a proxy's 413 %s becomes an OCI error that says the size", async (_, page, message) => {
    pod.answer((response) => void response.writeHead(413, { "Content-Type": "text/html", Server: "nginx" }).end(page));
    const { answer } = await ask("manifests/1", { method: "PUT", body: "large" });
    expect([answer.status, answer.headers.get("Content-Type")]).toEqual([413, "application/json"]);
    expect(await answer.json()).toEqual({ errors: [{ code: "SIZE_INVALID", message }] });
  });

  const own = '{"errors":[{"code":"MANIFEST_INVALID","message":"\xfcber 4 MiB"}]}';
  test.each([
    ["in UTF-8", Buffer.from(own)],
    ["with a byte order mark", Buffer.from(`\ufeff${own}`)],
    ["in Latin-1", Buffer.from(own, "latin1")],
  ])("a registry's own 413 in OCI form passes as it is %s", async (_, bytes) => {
    const headers = { "Content-Type": "application/json", "Content-Length": bytes.length, "X-Own": "1" };
    pod.answer((response) => void response.writeHead(413, headers).end(bytes));
    const { answer } = await ask("manifests/1", { method: "PUT", body: "large" });
    const body = Buffer.from(await answer.arrayBuffer());
    expect([answer.status, answer.headers.get("X-Own"), body]).toEqual([413, "1", bytes]);
  });
});
