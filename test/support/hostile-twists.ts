import fc from "fast-check";
import { decodeProtectedHeader } from "jose";
import { type CostlyRequest, costlyRequests } from "./costly-requests.ts";
import { headerOfLine, lineOf, wordOf } from "./fuzz.ts";
import { badAuthorization, body, type Materials } from "./hostile-parts.ts";
import { type Framing, type HostileRequest, plainRequest } from "./hostile-requests.ts";

type Twist = (request: HostileRequest) => HostileRequest;

const piece = fc.oneof(
  wordOf(`
    %2F %2f %5C \\ %00 .. /../ %2e%2e /%2e%2E/ /./ // ; ;x=y %zz % %25 %252e%252e %3a %3A @ # ?x=1 A \xc3\xa9 \xff %C3%A9 %C3%28
    %0d%0aX-Injected:%201 /../../globex/private/ /..%2f..%2fglobex/private /blobs/uploads/ /manifests/ * ~ - _ http://evil.test
    | ^ \` { " < ' %E2%80%AE ${"a".repeat(300)} ${"/a".repeat(60)}`),
  fc.constantFrom("\t", " ", "\r", "\0"),
);
const slash = wordOf("%2F %2f // %5C \\ ;/ /./ %252F %00/ : - .");
/** Half of the values are 2, the index of the slash inside the name in a path such as `/v2/acme/private/tags/list`. */
const whichSlash = fc.oneof(fc.constant(2), fc.nat(20));
const oddTarget = wordOf(`
  * / ? //evil.test/v2/ http://evil.test/v2/globex/private/manifests/1 v2/ /V2/ /v2/..%2f https://u:p@evil.test/v2/ evil.test:443
  javascript:alert(1) http:// /v2/% /-/ /jwt/auth/ /jwt//auth /jwt%2fauth /v2// /gitlab/v1 /gitlab/v1/repositories//
  /v2/../jwt/auth?scope=repository:globex/private:pull http:///v2/globex/private/manifests/1 //v2/globex/private/manifests/1`);
/** CONNECT is left out: workerd answers it by itself with 500, because this Worker has no handler for it. */
const oddMethod = wordOf("OPTIONS TRACE get FOO PROPFIND PATCH DELETE HEAD POST PUT QUERY G\0T");
const oddHost = fc.oneof(
  wordOf(`
    evil.test edge.test:99999 edge.test:0 [::1 a%2fb u:p@edge.test edge.test/x edge.test#x edge.test:80:80 edge_test
    edge.test,evil.test \xe9dge 127.1 %00 .. edge.test. EDGE.TEST [::ffff:7f00:1] a"b ${"x".repeat(300)}`),
  fc.constantFrom("", "a b", "edge.test, evil.test"),
);
const oddHeader = lineOf(`
  Accept: */*;q=zz
  Accept: application/${"x".repeat(8_000)}
  Accept: \xef\xbb\xbfapplication/vnd.oci.image.index.v1+json, \xc2\xa0application/vnd.oci.image.manifest.v1+json
  Accept-Encoding: br;q=1.0, gzip;q=0.8, *;q=0.1
  Range: bytes=0-0,2-3
  Range: bytes=-1
  Range: elephants=9-1
  Content-Range: 0-9
  Content-Range: 9-${"9".repeat(20)}
  Content-Length: -1
  Content-Length: +5
  Transfer-Encoding: gzip, chunked
  Transfer-Encoding : chunked
  Connection: close, Authorization, X-Forwarded-Host, Host
  Connection: keep-alive, Content-Length
  Connection: close, Accept, Content-Type
  Upgrade: websocket
  Expect: 100-continue
  Expect: 200-maybe
  X-Forwarded-Host: evil.test
  X-Original-URL: /v2/globex/private/manifests/1
  Forwarded: host=evil.test;proto=gopher
  X-HTTP-Method-Override: DELETE
  CF-Connecting-IP: evil.test, 1.2.3.4
  If-None-Match: "\xff
  If-Range: yesterday
  Host: evil.test
  X-Giant: ${"x".repeat(60_000)}
  X-Bad Name: 1
  X-Control: a\0b
  Content-Type: multipart/form-data; boundary=
  Content-Type: \xef\xbb\xbfapplication/vnd.oci.image.manifest.v1+json
  Docker-Content-Digest: sha256:0`).map(headerOfLine);
const oddFraming = fc.constantFrom<Framing>(
  ...(["chunks", "short", "cut chunk", "bad chunk", "two lengths", "length and chunks"] as const),
);

const withHeader = (request: HostileRequest, name: string, value: string): HostileRequest => ({
  ...request,
  headers: [...request.headers.filter(([known]) => known !== name), [name, value]],
});

/** Only the path changes. In a changed query, a secret could get the name of a harmless parameter, which the log shows. */
function withPiece(request: HostileRequest, begin: number, end: number, text: string): HostileRequest {
  const [path = "", ...query] = request.target.split("?");
  const twisted = path.slice(0, begin) + text + path.slice(end);
  if (query.length === 0) return { ...request, target: twisted };
  return { ...request, target: `${twisted}${twisted.includes("?") ? "&" : "?"}${query.join("?")}` };
}

const pathOf = ({ target }: HostileRequest): string => target.replace(/\?.*/s, "");

function withInsertion(request: HostileRequest, at: number, text: string): HostileRequest {
  const index = at % (pathOf(request).length + 1);
  return withPiece(request, index, index, text);
}

function withSlash(request: HostileRequest, at: number, text: string): HostileRequest {
  const slashes = [...pathOf(request).matchAll(/\//g)].map(({ index }) => index);
  const index = slashes[at % slashes.length];
  return index === undefined ? request : withPiece(request, index, index + 1, text);
}

/** Writes one character of the path as an escape such as `%61`. The decoded path stays the same. */
function withEscape(request: HostileRequest, at: number): HostileRequest {
  const path = pathOf(request);
  const index = at % Math.max(1, path.length);
  const code = path.charCodeAt(index);
  return Number.isNaN(code) ? request : withPiece(request, index, index + 1, `%${code.toString(16).padStart(2, "0")}`);
}

/** Turns each odd value into a twist: a function that changes a request by `apply` and this value. */
const by = <T>(values: fc.Arbitrary<T>, apply: (request: HostileRequest, value: T) => HostileRequest) =>
  values.map(
    (value): Twist =>
      (request) =>
        apply(request, value),
  );

const twist = (materials: Materials): fc.Arbitrary<Twist> =>
  fc.oneof(
    {
      arbitrary: by(fc.tuple(fc.nat(400), piece), (request, [at, text]) => withInsertion(request, at, text)),
      weight: 3,
    },
    { arbitrary: by(fc.tuple(whichSlash, slash), (request, [at, text]) => withSlash(request, at, text)), weight: 2 },
    by(fc.nat(400), withEscape),
    by(oddTarget, (request, target) => ({ ...request, target })),
    by(oddMethod, (request, method) => ({ ...request, method })),
    by(oddHost, (request, host) => withHeader(request, "Host", host)),
    by(oddHeader, (request, header) => ({ ...request, headers: [...request.headers, header] })),
    {
      arbitrary: by(badAuthorization(materials), (request, value) => withHeader(request, "Authorization", value)),
      weight: 3,
    },
    by(fc.tuple(oddFraming, body(materials)), (request, [framing, content]) => ({
      ...request,
      framing,
      body: content,
    })),
  );

const twistedRequest = (materials: Materials): fc.Arbitrary<HostileRequest> =>
  fc
    .tuple(plainRequest(materials), fc.array(twist(materials), { maxLength: 3 }))
    .map(([request, twists]) => twists.reduce((twisted, apply) => apply(twisted), request));

/** A request that may cost much CPU time. Its names and keys are new each time, so that no cache knows them. */
const dearRequest = ({ tokens, repositories }: Materials): fc.Arbitrary<HostileRequest> =>
  fc.tuple(fc.nat(), fc.nat({ max: 2 ** 30 }), fc.constantFrom(...repositories)).map(([which, seed, repository]) => {
    let made = 0;
    const unused = () => {
      made += 1;
      return `${seed.toString(36)}y${made}`;
    };
    const kid = tokens.flatMap((token) => decodeProtectedHeader(token.replace(/^.*\//, "")).kid ?? [])[0] ?? "";
    const requests = costlyRequests({ kid, pods: ["pod-a", "pod-b"], repository, unused });
    return (requests[which % requests.length] as CostlyRequest)[1];
  });

export const hostileRequest = (materials: Materials): fc.Arbitrary<HostileRequest> =>
  fc.oneof({ arbitrary: twistedRequest(materials), weight: 9 }, dearRequest(materials));
