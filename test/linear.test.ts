import { expect, test } from "vitest";
import { parseToken } from "../src/auth/bundle.ts";
import { readToken } from "../src/auth/grant.ts";
import { keyId } from "../src/auth/verify.ts";
import type { Pod } from "../src/directory/directory.ts";
import { isKeyId } from "../src/directory/key-id.ts";
import { parsePodId } from "../src/directory/pod-id.ts";
import { hasNext } from "../src/edge/catalog-page.ts";
import { parsePlaces } from "../src/edge/merge-catalog.ts";
import { isHost, parseCidr, parseIp } from "../src/lib/address.ts";
import { parseBase64, parseBase64url } from "../src/lib/bytes.ts";
import { parseJsonObject } from "../src/lib/json.ts";
import { announcedBytes, dropHopByHop } from "../src/net/headers.ts";
import { formatChallenge, parseChallenge } from "../src/oci/challenge.ts";
import { parseDigest } from "../src/oci/digest.ts";
import type { RegistryEndpoint } from "../src/oci/endpoint.ts";
import { manifestBlobs } from "../src/oci/manifest-blobs.ts";
import { accepts, acceptsAnyManifest, manifestTypeOf } from "../src/oci/manifest-types.ts";
import { parseEndpoint } from "../src/oci/parse-endpoint.ts";
import { parseReference, parseTag } from "../src/oci/reference.ts";
import { parsePrefix, parseRepositoryName } from "../src/oci/repository-name.ts";
import { isRepository, parseScopes } from "../src/oci/scope.ts";
import { readLocation, rewriteLink } from "../src/pods/targets.ts";
import { tooLarge } from "../src/pods/too-large.ts";
import { plainText, redactPath } from "../src/telemetry/log-line.ts";
import { parseTokenAnswer } from "../src/token-endpoint/answer.ts";
import { parseTokenRequest } from "../src/token-endpoint/request.ts";
import { cellOf, routingText } from "../src/token-endpoint/routable-token.ts";

const imageType = "application/vnd.oci.image.manifest.v1+json" as const;
const edge = "https://edge.test";
const parse = (method: string, target: string) => parseEndpoint(method, new URL(edge + target));
const registry = "https://registry.pod-a.test";
const tags = parse("GET", "/v2/a/tags/list");
const asked = {
  pod: { registry } as Pod,
  endpoint: (tags.ok ? tags.value : null) as RegistryEndpoint,
  edgeOrigin: edge,
};
const headersWith = (name: string, value: string) => new Headers([[name, value.replaceAll(/[^\t\x20-\x7e]/g, " ")]]);

/** Every function that reads text from a client or a Pod, or from a token that is not verified yet. */
const readers: Readonly<Record<string, (text: string) => unknown>> = {
  parseToken,
  "parseToken, of a bundle": (text) => parseToken(`pods.v1.pod-a/${text}`),
  readToken: (text) => readToken(`Bearer ${text}`),
  keyId: (text) => keyId(`${btoa(text.replaceAll(/[^\x20-\x7e]/g, "")).replaceAll("=", "")}.e30.x`),
  isKeyId,
  parsePodId,
  isHost,
  parseIp,
  parseCidr,
  parseBase64,
  parseBase64url,
  parseJsonObject,
  "announcedBytes, of Content-Length": (text) =>
    announcedBytes(new ReadableStream(), headersWith("Content-Length", text)),
  "dropHopByHop, of Connection": (text) => dropHopByHop(headersWith("Connection", text), () => false),
  "parseChallenge and formatChallenge": (text) => {
    const challenge = parseChallenge(`Bearer realm="${text}`);
    return challenge === null ? null : formatChallenge(challenge);
  },
  "parseChallenge, of any scheme": parseChallenge,
  "parseChallenge, of scopes": (text) => parseChallenge(`Bearer scope="${text}"`),
  parseDigest,
  manifestTypeOf,
  "accepts, of weights": (text) => accepts(`${imageType};q=${text}`, imageType),
  acceptsAnyManifest,
  manifestBlobs: (text) => manifestBlobs(imageType, new TextEncoder().encode(`{"layers":[${text}`)),
  "manifestBlobs, of a string": (text) => manifestBlobs(imageType, new TextEncoder().encode(JSON.stringify({ text }))),
  "parseEndpoint, of a path": (text) => parse("GET", `/v2/${text}`),
  "parseEndpoint, of a reference": (text) => parse("GET", `/v2/a/manifests/${text}`),
  "parseEndpoint, of an upload": (text) => parse("PATCH", `/v2/a/blobs/uploads/${text}`),
  "parseEndpoint, of GitLab's path": (text) => parse("GET", `/gitlab/v1/repositories/${text}/tags/list/`),
  "parseEndpoint, of a query": (text) => parse("POST", `/v2/a/blobs/uploads/?${text}`),
  "parseEndpoint, of a token request": (text) => parse("GET", `/jwt/auth?${text}`),
  parseReference,
  parseTag,
  parsePrefix,
  parseRepositoryName,
  "isRepository, of a type": (text) => isRepository({ type: `repository(${text}`, name: "a", actions: [] }),
  parseScopes: (text) => parseScopes([text]),
  // `rewriteLink` refuses a text of more than 8 KB without reading it.
  "rewriteLink, of 8 KB": (text) => rewriteLink(text.slice(0, 8_192), asked),
  "rewriteLink, of 8 KB of parameters": (text) => rewriteLink(`</v2/a/tags/list>;${text}`.slice(0, 8_192), asked),
  readLocation: (text) => readLocation(text, 201, asked),
  "hasNext, of relations": (text) => hasNext(headersWith("Link", `</v2/_catalog>; rel="${text}`)),
  tooLarge: (text) => tooLarge(text, null),
  // `parsePlaces` never gets a query of more than 100 parameters, so each `&` is replaced.
  parsePlaces: (text) => parsePlaces(`_after=pod-a:${text.replaceAll("&", "a")}`),
  redactPath: (text) => redactPath(new URL(`${edge}/v2/?${text}`)),
  plainText: (text) => plainText(text, text.length),
  parseTokenAnswer: (text) => parseTokenAnswer(JSON.stringify({ token: `a.${text}` }), new Date(0)),
  "parseTokenRequest, of Basic credentials": (text) => {
    const headers = headersWith("Authorization", `Basic ${text}`);
    return parseTokenRequest(new Request(`${edge}/jwt/auth`, { headers }), "registry-edge");
  },
  routingText,
  // `cellOf` gets the text in eight parts, because it refuses a password of more than 8 KB without reading it.
  "cellOf, of 8 KB eight times": (text) => Array.from({ length: 8 }, () => cellOf(text.slice(0, 8_192))),
};

const pieces = [
  ...'&;=%+,.:/<>-_~" \t0aA[{(\\\0\xe9'.split(""),
  ...[
    "%61=&",
    "a&",
    "a=b&",
    "a-",
    "a_",
    "a.",
    "a__",
    "/a",
    "a:",
    "a:b:c ",
    "-glcbt-",
    "glcbt-",
    "a.01.",
    "a,b,",
    "::",
    "1.",
    "1:",
  ],
  ...[
    '{"a":',
    '"a":1,',
    "[1,",
    "{},",
    ',scope="',
    ',realm="',
    ' realm="x',
    "next ",
    "sha256:a",
    "%3a",
    "..",
    "/manifests/",
    "pods.v1.",
    "a/b.c.d~",
  ],
];
const characters = 64 * 1024;
/** To read `characters` characters, a reader in quadratic time needs seconds. */
const mostMs = 60;
const tries = 5;

test.each(Object.entries(readers))("%s takes time in proportion to the length of what it reads", (_, read) => {
  for (const piece of pieces) {
    const text = piece.repeat(characters / piece.length);
    let leastMs = Number.POSITIVE_INFINITY;
    for (let count = 0; count < tries && leastMs > mostMs; count += 1) {
      const begin = performance.now();
      read(text);
      leastMs = Math.min(leastMs, performance.now() - begin);
    }
    expect(leastMs, JSON.stringify(piece)).toBeLessThan(mostMs);
  }
});
