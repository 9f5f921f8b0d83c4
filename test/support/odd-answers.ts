import fc from "fast-check";
import { headerOfLine, lineOf, wordOf } from "./fuzz.ts";

/** What an odd Pod answers to every request. It is plain data, so that a failure can print it. */
export type OddAnswer = {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  /**
   * With `more`, Content-Length is larger than the body, and with `less` smaller. With `cut`, the answer ends in the middle of a chunk. Only after
   * `length` and `chunks` can the connection be used again.
   */
  readonly framing: "length" | "chunks" | "until the end" | "more" | "less" | "cut";
};

export type Origins = { readonly pod: string; readonly storage: string; readonly edge: string };

const digest = `sha256:${"d".repeat(64)}`;
const upload = "/v2/globex/app/blobs/uploads/7b6c";

const place = ({ pod, storage, edge }: Origins): fc.Arbitrary<string> => {
  const before = fc.oneof(
    wordOf(`
      ${pod} ${storage} ${edge} http: // /\\ \\\\ /.// http:/\\ http://evil.test //evil.test https://evil.test ${pod}@evil.test
      ${pod}.evil.test ${pod.replace("http:", "https:")} javascript: data:, http://u:p@${new URL(pod).host} HTTP://EVIL.TEST /%2e%2e//
      http://u:p@${new URL(storage).host} evil.test ${edge.replace("//", "//evil.test:80\\@")} http://[ http://%00`),
    fc.constantFrom("", "/\t/", "\t//evil.test"),
  );
  const after = fc.oneof(
    wordOf(`
      / //evil.test /\\evil.test evil.test ${upload} ${upload}?_state=a%2Bb&_pod=forged ${upload}#x /v2/globex/other/blobs/uploads/1
      /v2/acme/private/blobs/uploads/1 /v2/acme/private/manifests/1 /v2/acme/private/tags/list /v2/globex/app/manifests/1
      /v2/globex/app/tags/list?n=2&last=a /jwt/auth?scope=repository:acme/private:pull /-/probe?pod=pod-a
      /v2/globex/app/blobs/${digest} /${"d".repeat(64)}/data /../..//evil.test ?x \xff
      /v2/globex/app/blobs/uploads/../../../../acme/private/blobs/uploads/1 /v2/globex/app/blobs/uploads/%2e%2e`),
    fc.constant(""),
  );
  return fc.tuple(before, after).map((parts) => parts.join(""));
};

const link = (origins: Origins): fc.Arbitrary<string> =>
  fc.oneof(
    place(origins).map((target) => `<${target}>; rel="next"`),
    fc
      .tuple(place(origins), place(origins))
      .map((targets) => targets.map((target) => `<${target}>; rel="next"`).join(", ")),
    lineOf(`
      <
      <>
      <>; rel="next"
      http://evil.test/; rel=next
      <a<b>; rel="next"
      <http://evil.test/; rel="next"`),
  );

const challenge = lineOf(`
  Bearer realm="http://evil.test/auth",service="evil",scope="repository:acme/private:pull repository:globex/app:pull"
  Bearer realm="http://evil.test/auth",error="invalid_token"
  Bearer realm=http://evil.test, scope=x
  Bearer scope="repository:globex/app:pull\\",realm=\\"http://evil.test"
  Basic realm="http://evil.test"
  Basic realm="x", Bearer realm="http://evil.test/auth",error="insufficient_scope\xff"
  Bearer`);

const otherHeader = lineOf(`
  Set-Cookie: a=b
  Alt-Svc: h3=":443"
  Connection: Location, Link, WWW-Authenticate, Content-Length
  Upgrade: h2c
  Content-Encoding: gzip
  Content-Encoding: odd
  Content-Type: text/html
  Content-Type: \xff
  Trailer: Location
  Cache-Control: public, max-age=1
  Range: 0--1
  Docker-Upload-UUID: ../x
  X-Giant: ${"x".repeat(20_000)}`).map(headerOfLine);

const header = (origins: Origins): fc.Arbitrary<readonly [string, string]> =>
  fc.oneof(
    { arbitrary: place(origins).map((value) => ["Location", value] as const), weight: 4 },
    { arbitrary: link(origins).map((value) => ["Link", value] as const), weight: 2 },
    { arbitrary: challenge.map((value) => ["WWW-Authenticate", value] as const), weight: 2 },
    fc
      .constantFrom(digest, "sha256:", "x", `sha256:${"e".repeat(64)}`, `${digest}, ${digest}`)
      .map((value) => ["Docker-Content-Digest", value] as const),
    otherHeader,
  );

const jwt = "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjk5OTk5OTk5OTl9.c2ln";
const body = fc.oneof(
  lineOf(`
    {}
    []
    null
    7
    "
    {
    \0
    \xff\xfe
    {"tags":null}
    {"errors":[]}
    {"errors":[{"message":"\xfc"}]}
    {"repositories":null}
    {"repositories":[7]}
    {"repositories":{}}
    {"repositories":["globex/app","acme/hello","\\u0000","zz"]}
    {"repositories":["b","a","b","../x","<x>","globex/app>; rel=next, <http://evil.test"]}
    {"token":"${jwt}"}
    {"token":"${jwt}~pod-a/${jwt}"}
    {"token":7}
    {"token":null,"access_token":"a.b.c"}
    {"token":"a.b.c"}
    {"token":"${jwt}","refresh_token":"kept","expires_in":-1}
    {"token":"","access_token":"${jwt}"}
    {"token":"e30.eyJleHAiOjFlOTk5fQ.x"}
    {"token":"e30.bnVsbA.x"}
    {"token":"e30.eyJleHAiOiJ4In0.x"}
    {"token":"e30.eyJhY2Nlc3MiOlt7ImFjdGlvbnMiOjd9XX0.x"}
    {"__proto__":{"token":"${jwt}"}}`),
  fc.constantFrom("", "[".repeat(20_000), "x".repeat(70_000), `"${"x".repeat(1_100_000)}"`),
);
const common = "200 200 201 202 204 206 301 302 303 304 307 308 400 401 403 404 405 413 416 429";
const rare = "100 101 103 199 205 300 305 399 407 418 421 451 499 502 503 504 599 600 999";
const status = fc.oneof({ arbitrary: wordOf(common), weight: 4 }, wordOf(rare)).map(Number);

export const oddAnswer = (origins: Origins): fc.Arbitrary<OddAnswer> =>
  fc.record({
    status,
    headers: fc.array(header(origins), { maxLength: 3 }),
    body,
    framing: fc.oneof(
      { arbitrary: fc.constant("length" as const), weight: 3 },
      fc.constantFrom("chunks" as const, "until the end" as const, "more" as const, "less" as const, "cut" as const),
    ),
  });

/** The answer as it goes over the wire, one character per byte. */
export function answerText({ status: code, headers, body: content, framing }: OddAnswer): string {
  const announced = { length: content.length, more: content.length + 9, less: Math.max(0, content.length - 9) };
  const chunk = `${content.length.toString(16)}\r\n${content}\r\n`;
  const chunks = content === "" ? "" : chunk;
  const framed =
    framing === "chunks" || framing === "cut"
      ? ["Transfer-Encoding: chunked"]
      : framing === "until the end"
        ? []
        : [`Content-Length: ${announced[framing]}`];
  const lines = [`HTTP/1.1 ${code} Odd\tindeed`, ...headers.map(([name, value]) => `${name}: ${value}`), ...framed];
  const text = framing === "chunks" ? `${chunks}0\r\n\r\n` : framing === "cut" ? `${chunks}ffff\r\nab` : content;
  return `${lines.join("\r\n")}\r\n\r\n${text}`;
}
