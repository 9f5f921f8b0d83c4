import { base64url, utf8 } from "../../src/lib/bytes.ts";
import type { HostileRequest } from "./hostile-requests.ts";

/** A request that anyone can send, and that costs much CPU time if a parser or a look-up is careless. */
export type CostlyRequest = readonly [what: string, request: HostileRequest];

export type Known = {
  /** The `kid` of the first Pod's key. Strangers may know it, because every token of that Pod contains it. */
  readonly kid: string;
  readonly pods: readonly string[];
  readonly repository: string;
  /** Gives a new text at each call, so that no cache knows a name or a `kid` that is made from the text. */
  readonly unused: () => string;
};

/** Cloudflare accepts URLs of up to 16 KB. A form may be longer. */
const largeBytes = 16_000;
const formBytes = 64_000;
const fill = (piece: string, bytes = largeBytes): string => piece.repeat(Math.floor(bytes / piece.length));
const times = (count: number, text: (index: number) => string, glue: string): string =>
  Array.from({ length: count }, (_, index) => text(index)).join(glue);

type Headers = HostileRequest["headers"];
const host = ["Host", "edge.test"] as const;
const formType = ["Content-Type", "application/x-www-form-urlencoded"] as const;
const get = (target: string, headers: Headers = []): HostileRequest => ({
  ...{ method: "GET", target, headers: [host, ...headers] },
  ...{ body: "", framing: "none" },
});
const post = (target: string, body: string, framing: HostileRequest["framing"] = "length"): HostileRequest => ({
  ...{ method: "POST", target, headers: [host, formType] },
  ...{ body, framing },
});
const form = (body: string, framing?: HostileRequest["framing"]) => post("/jwt/auth", body, framing);
const bearer = (token: string) => ["Authorization", `Bearer ${token}`] as const;
const basic = (password: string) => ["Authorization", `Basic ${btoa(`anyone:${password}`)}`] as const;

export const costlyRequests = (known: Known): readonly CostlyRequest[] => [
  ...costlyQueries(known),
  ...costlyPaths(known),
  ...costlyScopes(known),
  ...costlyForms,
  ...costlyPasswords,
  ...costlyTokens(known),
  ...costlyHeaders(known),
];

const queryPieces = ["&", ";", "=", "%61=&", "a&", "%&", "+&", "n=1&", "scope=&", "?&"];

function costlyQueries({ repository }: Known): readonly CostlyRequest[] {
  const paths = [
    ...["/v2/", `/v2/${repository}/manifests/1`, "/v2/_catalog", `/v2/${repository}/tags/list`],
    ...["/jwt/auth", "/-/health", "/-/probe", "/v2"],
  ];
  const read = paths.flatMap((path) =>
    queryPieces.map((piece): CostlyRequest => [`${path} with 16 KB of ${piece}`, get(`${path}?${fill(piece)}`)]),
  );
  const uploads = `/v2/${repository}/blobs/uploads/`;
  return [
    ...read,
    ["the start of an upload with 16 KB of &", post(`${uploads}?${fill("&")}`, "")],
    ["an upload with 16 KB of &", { ...post(`${uploads}x?${fill("&")}`, ""), method: "PATCH" }],
  ];
}

const costlyPaths = ({ repository }: Known): readonly CostlyRequest[] => [
  ...["/", "/a", "/blobs/uploads", "/manifests", "a-", "a_", "a.", "%2f", "/.", "/.."].map(
    (piece): CostlyRequest => [`a path with 16 KB of ${piece}`, get(`/v2/${fill(piece)}/manifests/1`)],
  ),
  ["a path of GitLab's with 16 KB of /a", get(`/gitlab/v1/repositories/${fill("/a")}/tags/list/`)],
  ["a path outside the API with 16 KB of /", get(fill("/"))],
  ["a tag of 16 KB", get(`/v2/${repository}/manifests/${fill("a")}`)],
  ["a digest of 16 KB", get(`/v2/${repository}/blobs/sha256:${fill("a+a")}`)],
];

const maxComponents = 20;
const deepName = (unused: () => string): string => `x${unused()}${"/a".repeat(maxComponents - 1)}`;

function costlyScopes({ unused, repository }: Known): readonly CostlyRequest[] {
  const unknown = (count: number, glue: string) => times(count, () => `repository:${deepName(unused)}:pull`, glue);
  const ask = (parameters: string, headers: Headers = []) => get(`/jwt/auth?${parameters}`, headers);
  return [
    ["200 unknown scopes of 20 components", ask(`scope=${unknown(200, "&scope=")}`)],
    ["the same with a password", ask(`scope=${unknown(200, "&scope=")}`, [basic("wrong")])],
    ["the same in a form", form(`scope=${unknown(200, "+")}`)],
    ["200 unknown scopes of one component", ask(times(200, () => `scope=repository:x${unused()}:pull`, "&"))],
    ["16 KB of short scopes in one value", ask(`scope=${times(2_000, (index) => `a:b:${index}`, "+")}`)],
    ["200 equal scopes", ask(fill("scope=repository:unknown/x:pull&", 6_000))],
    ["200 × registry:catalog:*", ask(fill("scope=registry:catalog:*&", 5_000))],
    ["200 different scopes for the catalog", ask(times(200, (index) => `scope=registry:catalog:a${index}`, "&"))],
    ["a scope with 8,000 actions", ask(`scope=repository:${repository}:${fill("p,")}`)],
    ["a scope with 3,000 different actions", ask(`scope=repository:${repository}:${times(3_000, String, ",")}`)],
    ["16 KB of spaces in a scope", ask(`scope=${fill("+")}`)],
  ];
}

const costlyForms: readonly CostlyRequest[] = [
  ...["&", "a=b&", "scope=x:y:z&", "%", "scope=+"].map(
    (piece): CostlyRequest => [`a form of 64 KB of ${piece}`, form(fill(piece, formBytes))],
  ),
  ["a form in 2,700 chunks of one byte", form(fill("a", 2_700), "bytes")],
  ["a form in 64,000 chunks of one byte", form(fill("a", formBytes), "bytes")],
];

const costlyPasswords: readonly CostlyRequest[] = [
  ...["-glcbt-", "glcbt-", "a", "-", ".", "a.01.", "\n", "c:"].map(
    (piece): CostlyRequest => [
      `a password of 8 KB of ${JSON.stringify(piece)}`,
      get("/jwt/auth", [basic(fill(piece, 8_000))]),
    ],
  ),
  ["a CI token with claims of [", get("/jwt/auth", [basic(`glcbt-e30.${base64url(utf8("[".repeat(5_000)))}.x`)])],
  ["16 KB of spaces before a password", get("/jwt/auth", [["Authorization", `Basic ${fill(" ")}x`]])],
];

const jwt = (header: object, payload: string): string =>
  `${base64url(utf8(JSON.stringify(header)))}.${base64url(utf8(payload))}.${"A".repeat(342)}`;

/** A text in the form of a grant that the edge has sealed. */
const sealedPart = (): string =>
  `edge.${base64url(utf8('{"alg":"dir","enc":"A256GCM"}'))}..${"A".repeat(16)}.${"A".repeat(400)}.${"A".repeat(22)}`;

function costlyTokens({ kid, pods, repository, unused }: Known): readonly CostlyRequest[] {
  const manifest = `/v2/${repository}/manifests/1`;
  const [pod = ""] = pods;
  const forged = (kidOf: string, bytes: number) =>
    jwt({ alg: "RS256", kid: kidOf }, `{"x":"${"x".repeat(Math.max(0, (bytes - 450) * 0.75))}"}`);
  const madeUpKid = () => unused().padStart(43, "k");
  const bundle = (owners: readonly string[], part: () => string) =>
    `pods.v1.${owners.map((owner) => `${owner}/${part()}`).join("~")}`;
  const eight = pods.slice(0, 8);
  const unlisted = (count: number) => Array.from({ length: count }, () => `x${unused()}`);
  return [
    ["16 KB of spaces in a token", get(manifest, [["Authorization", `Bearer${fill(" ")}x`]])],
    ["16 KB of ~ in a bundle", get(manifest, [bearer(`pods.v1.${fill("~")}`)])],
    ["16 KB of dots in a token", get(manifest, [bearer(fill("a."))])],
    ["8 parts with a known kid", get(manifest, [bearer(bundle(eight, () => forged(kid, 1_900)))])],
    ["8 parts with a known kid, for /v2/", get("/v2/", [bearer(bundle(eight, () => forged(kid, 1_900)))])],
    [
      "8 parts with a known kid, for the catalog",
      get("/v2/_catalog", [bearer(bundle(eight, () => forged(kid, 1_900)))]),
    ],
    ["8 parts without a kid, for /v2/", get("/v2/", [bearer(bundle(eight, () => jwt({ alg: "RS256" }, "{}")))])],
    ["8 parts with unknown kids", get(manifest, [bearer(bundle(eight, () => forged(madeUpKid(), 1_900)))])],
    ["8 parts of unknown Pods", get(manifest, [bearer(bundle(unlisted(eight.length), () => forged(kid, 1_900)))])],
    ["one part of 16 KB with a known kid", get(manifest, [bearer(bundle([pod], () => forged(kid, largeBytes)))])],
    ["2 parts of 30 KB with a known kid", get(manifest, [bearer(bundle(pods.slice(0, 2), () => forged(kid, 30_000)))])],
    ["an unknown kid", get(manifest, [bearer(forged(madeUpKid(), 500))])],
    [
      "an unknown kid, for a name of 20 components",
      get(`/v2/${deepName(unused)}/manifests/1`, [bearer(bundle([pod], () => forged(madeUpKid(), 500)))]),
    ],
    [
      "8 parts with unknown kids, for a mount of 20 components",
      {
        ...post(`/v2/${deepName(unused)}/blobs/uploads/?mount=sha256:a&from=${deepName(unused)}`, ""),
        headers: [host, bearer(bundle([pod, ...unlisted(7)], () => forged(madeUpKid(), 500)))],
      },
    ],
    ["8 sealed parts, for the catalog", get("/v2/_catalog", [bearer(bundle(eight, sealedPart))])],
    ["16 KB of [ as claims", get(manifest, [bearer(`pods.v1.${pod}/${jwt({ kid }, fill("[", 11_000))}`)])],
    [
      "thousands of entries of access",
      get(manifest, [bearer(`pods.v1.${pod}/${jwt({ kid }, `{"access":[${fill("{},", 11_000)}{}]}`)}`)]),
    ],
    ["16 KB of header", get(manifest, [bearer(`pods.v1.${pod}/${jwt({ kid, y: fill("[", 11_000) }, "{}")}`)])],
  ];
}

const headerPieces = [
  ...[["Connection", "a,"] as const, ["Connection", "x-forwarded-for,"] as const, ["Connection", ","] as const],
  ...[["Range", "0-1,"] as const, ["Accept", "a/b;q=0.1,"] as const, ["Accept", "a"] as const],
  ...[["Content-Type", "a;"] as const, ["X-Forwarded-For", "1.1.1.1,"] as const, ["Cookie", "a=b;"] as const],
  ...[["CF-Connecting-IP", ":"] as const, ["CF-Connecting-IP", "1."] as const, ["If-None-Match", '"a",'] as const],
];

/** If the edge does not know a token's key, it forwards the request to the Pod. So a stranger with such a token makes the edge copy all headers. */
function costlyHeaders({ pods, repository, unused }: Known): readonly CostlyRequest[] {
  const manifest = `/v2/${repository}/manifests/1`;
  const passing = () => bearer(`pods.v1.${pods[0]}/${jwt({ alg: "RS256", kid: unused() }, "{}")}`);
  const many = Array.from({ length: 2_000 }, (_, index) => [`x${index}`, "1"] as const);
  return [
    ...headerPieces.map(
      ([name, piece]): CostlyRequest => [
        `${name} with 16 KB of ${piece}`,
        get(manifest, [[name, fill(piece)], passing()]),
      ],
    ),
    ["2,000 headers", get(manifest, many)],
    ["2,000 headers and a token", get(manifest, [...many, passing()])],
    ["200 headers and a token", get(manifest, [...many.slice(0, 190), passing()])],
  ];
}
