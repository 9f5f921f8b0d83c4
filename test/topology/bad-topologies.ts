import { keyOf, podText, topologyText } from "../support/topologies.ts";

type BadTopology = {
  readonly name: string;
  readonly text: string | Uint8Array;
  /** The content of assignments.tsv, if the topology needs this file. */
  readonly lines?: string | Uint8Array;
  readonly error: string;
};

/** Text in the form of a compact JWE. Its header says where the sealed value belongs, and its other parts mean nothing. */
const sealedFor = (place: object): string =>
  `${Buffer.from(JSON.stringify({ alg: "ECDH-ES", enc: "A256GCM", ...place })).toString("base64url")}..AAAA.AAAA.AAAA`;
const sha512 = `sha512:${"0".repeat(128)}`;
const sealedStore = sealedFor({ pod: "pod-a", field: "blobs.stores.0.credentials", scheme: "s3", target: "blobs" });
const store = {
  scheme: "s3",
  endpoint: "https://s3.example.net",
  region: "us-east-1",
  bucket: "blobs",
  addressing: "virtual-host",
  credentials: sealedStore,
};

const good = topologyText(["pod-a", "pod-b"], "assignments:", "  acme: pod-a", "default: pod-a");
const pod = (more: object, second: object = {}): string =>
  [`pods:`, `  pod-a: ${podText("pod-a", more)}`, `  pod-b: ${podText("pod-b", second)}`].join("\n");
const assigned = (...lines: readonly string[]): string => topologyText(["pod-a", "pod-b"], "assignments:", ...lines);
const lineRow = (name: string, lines: string | Uint8Array, error: string, ...more: readonly string[]): BadTopology => ({
  name,
  text: topologyText(["pod-a", "pod-b"], "assignmentsFile: assignments.tsv", ...more),
  lines,
  error: `assignments.tsv:${error}`,
});
const row = (name: string, text: string | Uint8Array, error: string): BadTopology => ({ name, text, error });

const yaml: readonly BadTopology[] = [
  row("an empty file", "", "topology.yaml:1:1: null is wrong; want a mapping"),
  row(
    "a file in UTF-16",
    Buffer.from(`\uFEFF${good}`, "utf16le"),
    "topology.yaml:1:1: the file is not UTF-8; save it as UTF-8",
  ),
  row("a file that is a list", "- pods", "topology.yaml:1:1: a list is wrong; want a mapping"),
  row("a file that is a word", "pods", 'topology.yaml:1:1: "pods" is wrong; want a mapping'),
  row("a brace that is never closed", "pods: {", "topology.yaml:1:8: not YAML: "),
  row("tabs instead of spaces", "pods:\n\tpod-a: {}", "topology.yaml:2:1: not YAML: "),
  row(
    "two documents",
    `${good}\n---\n${good}`,
    "topology.yaml:7:1: a second YAML document begins here; want one in a file",
  ),
  row("a duplicate member", `${good}\ndefault: pod-b`, 'topology.yaml:7:1: duplicate "default"; remove one of the two'),
  row("a duplicate Pod", topologyText(["pod-a", "pod-a"]), '3:3: duplicate "pod-a"; remove one of the two'),
  row("a duplicate prefix", assigned("  acme: pod-a", "  acme: pod-b"), '6:3: duplicate "acme"; remove one of the two'),
  row("an alias", assigned("  acme: &a pod-a", "  globex: *a"), "6:11: an alias is not supported; write the value out"),
  row("a tag", assigned("  acme: !vault pod-a"), "5:16: a tag is not supported; want a plain value"),
  row("a line of 10 MB", `${good} # ${"x".repeat(10_000_000)}`, "topology.yaml:1:1: the file has 1000"),
  row(
    "a placeholder",
    `${good}\n# \${POD_A_KEY}`,
    `7:3: this is a placeholder, which only the local stack fills; want the value itself`,
  ),
];

const members: readonly BadTopology[] = [
  row(
    "an unknown member",
    `${good}\npod: {}`,
    "7:1: pod: is not a member here; docs/topology.schema.json lists the members",
  ),
  row("a file without Pods", "assignments: {}", "topology.yaml:1:1: pods: is missing; add it"),
  row("an empty mapping of Pods", "pods: {}", "1:1: pods: is empty; want at least one Pod"),
  row("an empty list of blocks", topologyText(["pod-a"], "blocks: []"), "3:9: blocks: a list is wrong; want a mapping"),
  row("a list of Pods", "pods: [pod-a]", "1:7: pods: a list is wrong; want a mapping"),
  row("a Pod without members", "pods:\n  pod-a:", "2:9: pods.pod-a: null is wrong; want a mapping"),
  row(
    "a Pod id in upper case",
    `pods:\n  Pod-A: ${podText("pod-a")}`,
    '2:3: pods.Pod-A: Pod id "Pod-A" is malformed; want a-z and 0-9',
  ),
  row("a Pod id of 64 characters", topologyText(["p".repeat(64)]), "2:3: pods.pppp"),
  row(
    "a Pod id that JavaScript reserves",
    topologyText(["constructor"]),
    "2:3: pods.constructor: is reserved; want another Pod id",
  ),
  row("a Pod without a token service", pod({ token: undefined }), "2:10: pods.pod-a.token: is missing; add it"),
  row("a Pod with an unknown member", pod({ url: "x" }), "pods.pod-a.url: is not a member here"),
  row("a number for a registry", pod({ registry: 5000 }), "pods.pod-a.registry: 5000 is wrong; want text"),
  row(
    "a registry with a path",
    pod({ registry: "https://x.example.net/v2" }),
    'pods.pod-a.registry: "https://x.example.net/v2" is wrong; want an origin: scheme, host and port, no path',
  ),
  row(
    "a registry that is not a URL",
    pod({ registry: "x.example.net" }),
    'pods.pod-a.registry: "x.example.net" is wrong; want a URL',
  ),
  row(
    "a registry with a password",
    pod({ registry: "https://u:hunter2@x.example.net" }),
    'pods.pod-a.registry: "https://…@x.example.net" is wrong; want an origin',
  ),
  row(
    "a registry in plain HTTP",
    pod({ registry: "http://x.example.net" }),
    'pods.pod-a.registry: "http://x.example.net" is not encrypted; want https',
  ),
  row("a token service in plain HTTP", pod({ token: "http://x.example.net/jwt" }), "is not encrypted; want https"),
  row("a token service with a query", pod({ token: "https://x.example.net/jwt?a=b" }), 'jwt?a=b" has a query, a'),
  row("a token service with a space at its end", pod({ token: "https://x.example.net/jwt " }), "or a space; want"),
  row("a token service by FTP", pod({ token: "ftp://x.example.net/jwt" }), "is neither https nor http; want https"),
  row("an empty issuer", pod({ issuer: "" }), 'pods.pod-a.issuer: "" is wrong; want text that is not empty'),
  row("an audience that is a list", pod({ audience: ["a"] }), "pods.pod-a.audience: a list is wrong; want text"),
  row("keys that are not a list", pod({ keys: {} }), "pods.pod-a.keys: a mapping is wrong; want a list"),
  row(
    "a key without a kid",
    pod({ keys: [{ kty: "RSA", alg: "RS256" }] }),
    "pods.pod-a.keys[0].kid: is missing; add it",
  ),
  row(
    "a key for alg none",
    pod({ keys: [{ ...keyOf("k"), alg: "none" }] }),
    'pods.pod-a.keys[0].alg: "none" is wrong; want "RS256" or "RS384"',
  ),
  row(
    "a private key",
    pod({ keys: [{ ...keyOf("k"), d: "secret-d" }] }),
    "pods.pod-a.keys[0]: a mapping is wrong; want a public key",
  ),
  row(
    "eleven keys",
    pod({ keys: Array.from({ length: 11 }, (_, index) => keyOf(`k${index}`)) }),
    "pods.pod-a.keys: a list is wrong; want at most 10",
  ),
  row(
    "an unknown state",
    pod({ state: "paused" }),
    'pods.pod-a.state: "paused" is wrong; want "active" or "read-only" or "down"',
  ),
  row(
    "a long reason",
    pod({ state: "down", reason: "x".repeat(501) }),
    "pods.pod-a.reason: has 501 characters; want at most 500",
  ),
  row(
    "a malformed cell",
    pod({ cells: ["A!"] }),
    'pods.pod-a.cells[0]: "A!" is wrong; want a match of /^[0-9a-z]{1,13}$/',
  ),
  row(
    "a probe whose digest is a tag",
    pod({ probe: { repository: "acme/x", digest: "latest" } }),
    "pods.pod-a.probe.digest: ",
  ),
  row("a sha512 probe", pod({ probe: { repository: "a/x", digest: sha512 } }), "is not a sha256"),
  row(
    "a probe whose repository is malformed",
    pod({ probe: { repository: "Acme", digest: `sha256:${"0".repeat(64)}` } }),
    "pods.pod-a.probe.repository: ",
  ),
];

const shared: readonly BadTopology[] = [
  row(
    "one kid in two Pods",
    pod({ keys: [keyOf("k")] }, { keys: [keyOf("k")] }),
    'pods.pod-b.keys[0].kid: kid "k" is also used by Pod "pod-a"; no two Pods may share one',
  ),
  row(
    "one kid twice in a Pod",
    pod({ keys: [keyOf("k"), keyOf("k")] }),
    'pods.pod-a.keys[1].kid: duplicate kid "k"; remove one of the two',
  ),
  row(
    "one cell in two Pods",
    pod({ cells: ["1"] }, { cells: ["1"] }),
    'pods.pod-b.cells[0]: cell "1" is also used by Pod "pod-a"; no two Pods may share one',
  ),
  row(
    "one issuer in two Pods",
    pod({}, { issuer: "pod-a-issuer" }),
    'pods.pod-b.issuer: issuer "pod-a-issuer" is also used by Pod "pod-a"; no two Pods may share one',
  ),
  row(
    "one registry in two Pods with different issuers",
    pod({}, { registry: "https://registry.pod-a.example.net" }),
    'pods.pod-b.issuer: "pod-b-issuer" is not the issuer of Pod "pod-a", which has the same registry; want "pod-a-issuer" in both',
  ),
];

const secrets: readonly BadTopology[] = [
  row("an unknown trust", pod({ trust: { kind: "magic" } }), "pods.pod-a.trust"),
  row(
    "trust by a header that proxies set",
    pod({ trust: { kind: "header", name: "X-Forwarded-For", value: sealedStore } }),
    'pods.pod-a.trust.name: "X-Forwarded-For" is wrong; want a match of',
  ),
  row(
    "a header secret in clear",
    pod({ trust: { kind: "header", name: "X-Edge", value: "hunter2" } }),
    "pods.pod-a.trust.value: is not a sealed value, and may be the secret itself; want what `podctl seal` prints",
  ),
  row(
    "a header secret sealed for another Pod",
    pod({ trust: { kind: "header", name: "X-Edge", value: sealedFor({ pod: "pod-b" }) } }),
    'pods.pod-a.trust.value: was sealed for another place; want one sealed for pod "pod-a"',
  ),
  row(
    "storage credentials in clear",
    pod({ blobs: { stores: [{ ...store, credentials: "hunter2:hunter2" }] } }),
    "pods.pod-a.blobs.stores[0].credentials: is not a sealed value, and may be the secret itself",
  ),
  row(
    "storage credentials as members",
    pod({ blobs: { stores: [{ ...store, credentials: { accessKeyId: "hunter2" } }] } }),
    "pods.pod-a.blobs.stores[0].credentials: the value (not shown) is wrong; want text",
  ),
  row(
    "storage credentials of another bucket",
    pod({ blobs: { stores: [{ ...store, bucket: "other" }] } }),
    'stores[0].credentials: was sealed for another place; want one sealed for target "other"',
  ),
];

const blobs: readonly BadTopology[] = [
  row(
    "blob hosts that are not a list",
    pod({ blobs: { hosts: "x" } }),
    'pods.pod-a.blobs.hosts: "x" is wrong; want a list',
  ),
  row(
    "a blob host with a scheme",
    pod({ blobs: { hosts: ["https://x.example.net"] } }),
    'pods.pod-a.blobs.hosts[0]: "https://x.example.net" is not a host; want a name, with a port',
  ),
  row(
    "the edge as a blob host",
    pod({ blobs: { hosts: ["registry.example.com"] } }),
    'pods.pod-a.blobs.hosts[0]: "registry.example.com" is the edge\'s own host name "registry.example.com" or below it',
  ),
  row(
    "another port of the edge as a blob host",
    pod({ blobs: { hosts: ["registry.example.com:8443"] } }),
    "is the edge's own host name",
  ),
  row(
    "a blob host below the edge",
    pod({ blobs: { hosts: ["cdn.registry.example.com"] } }),
    "is the edge's own host name",
  ),
  row(
    "a blob host below the edge that the file names",
    `${pod({ blobs: { hosts: ["cdn.edge.example.org"] } })}\nedge: edge.example.org`,
    'is the edge\'s own host name "edge.example.org"',
  ),
  row(
    "a store below the edge",
    pod({ blobs: { stores: [{ ...store, endpoint: "https://registry.example.com" }] } }),
    'pods.pod-a.blobs.stores[0]: "blobs.registry.example.com" is the edge\'s own host name',
  ),
  row(
    "a store in plain HTTP",
    pod({ blobs: { stores: [{ ...store, endpoint: "http://s3.example.net" }] } }),
    'pods.pod-a.blobs.stores[0]: "http://blobs.s3.example.net" is not encrypted; want https',
  ),
  row(
    "an unknown scheme",
    pod({ blobs: { stores: [{ ...store, scheme: "s4" }] } }),
    'pods.pod-a.blobs.stores[0].scheme: "s4" is wrong; want',
  ),
  row(
    "a store without a bucket",
    pod({ blobs: { stores: [{ ...store, bucket: undefined }] } }),
    "pods.pod-a.blobs.stores[0].bucket: is missing; add it",
  ),
  row(
    "a store that no client reaches",
    pod({ blobs: { stores: [{ scheme: "pod" }, { scheme: "pod" }] } }),
    "pods.pod-a.blobs.stores[1]: is never chosen",
  ),
  row(
    "a country that does not exist",
    pod({ blobs: { stores: [{ scheme: "pod", when: { countries: ["XX"] } }] } }),
    'pods.pod-a.blobs.stores[0]: when.countries: "XX" is not an ISO 3166-1 alpha-2 code',
  ),
  row("an unknown proof", pod({ blobs: { proof: "trust-me" } }), 'pods.pod-a.blobs.proof: "trust-me" is wrong; want'),
];

const names: readonly BadTopology[] = [
  row(
    "assignments that are a list",
    topologyText(["pod-a"], "assignments: [acme]"),
    "assignments: a list is wrong; want a mapping",
  ),
  row(
    "an assignment to an unknown Pod",
    assigned("  acme: pod-c"),
    '5:9: assignments.acme: "pod-c" is not a Pod of this file; want one of pod-a, pod-b',
  ),
  row("an assignment to a number", assigned("  acme: 1"), "5:9: assignments.acme: 1 is wrong; want text"),
  row(
    "a prefix in upper case",
    assigned("  Acme: pod-a"),
    '5:3: assignments.Acme: prefix "Acme" has upper-case letters; want lower-case components',
  ),
  row(
    "a prefix that differs from another only by a slash at its end",
    assigned("  acme: pod-a", "  acme/: pod-b"),
    '6:3: assignments."acme/": prefix "acme/" is not canonical; want',
  ),
  row(
    "a prefix with dot segments",
    assigned("  acme/../globex: pod-a"),
    'prefix "acme/../globex" is not canonical; want',
  ),
  row(
    "a prefix of 21 components",
    assigned(`  ${Array(21).fill("a").join("/")}: pod-a`),
    "has 21 components; want at most 20",
  ),
  row(
    "a prefix of 256 characters",
    assigned(`  ${"a".repeat(256)}: pod-a`),
    "prefix has 256 characters; want at most 255",
  ),
  row(
    "an unknown default",
    topologyText(["pod-a"], "default: pod-z"),
    '3:10: default: "pod-z" is not a Pod of this file; want one of pod-a',
  ),
  row(
    "an unknown credentials policy",
    topologyText(["pod-a"], "credentials: mine"),
    '3:14: credentials: "mine" is wrong; want "own" or "shared"',
  ),
  row(
    "a block of a malformed digest",
    topologyText(["pod-a"], 'blocks: {"sha256:xyz": no}'),
    '3:10: blocks."sha256:xyz": "sha256:xyz" is neither a prefix nor a digest; want acme/app without a tag, or sha256:',
  ),
  row("a block of a tag", topologyText(["pod-a"], "blocks: {hello:1: no}"), '"hello:1" is neither a prefix nor'),
  row(
    "a block with a long text",
    topologyText(["pod-a"], `blocks: {acme: ${"x".repeat(501)}}`),
    "3:16: blocks.acme: is not a text of at most 500 characters",
  ),
  row(
    "an edge with a port",
    topologyText(["pod-a"], "edge: registry.example.com:443"),
    '3:7: edge: "registry.example.com:443" is not a host name; want one without scheme and port',
  ),
];

const lines: readonly BadTopology[] = [
  {
    name: "a file of assignments that is not there",
    text: topologyText(["pod-a"], "assignmentsFile: nowhere.tsv"),
    error: "nowhere.tsv:1:1: cannot be read: ENOENT",
  },
  lineRow("assignments in UTF-16", Buffer.from("\uFEFFacme\tpod-a\n", "utf16le"), "1:1: cannot be read: "),
  lineRow("a line without a tab", "acme pod-a\n", '1:1: "acme pod-a" has no tab; want a prefix, a tab and a Pod'),
  lineRow(
    "a line with an unknown Pod",
    "# all\nacme\tpod-a\nx\tpod-c",
    '3:3: "pod-c" is not a Pod of this file; want one of pod-a, pod-b',
  ),
  lineRow("a line with a malformed prefix", "acme\tpod-a\n-x\tpod-a\n", '2:1: prefix "-x" is not canonical'),
  lineRow(
    "a line that assigns a prefix again",
    "acme\tpod-a\nacme\tpod-a\n",
    '2:1: prefix "acme" is assigned a second time; remove one of the two',
  ),
  lineRow(
    "a line that assigns a prefix of the topology",
    "acme\tpod-a\n",
    '1:1: prefix "acme" is assigned a second time',
    "assignments: {acme: pod-b}",
  ),
  lineRow(
    "a line of 10 MB among the assignments",
    `acme\tpod-a\n${"x".repeat(10_000_000)}\tpod-a\n`,
    "2:1: the line has more than 1024 characters; want a prefix, a tab and a Pod, or a shorter comment",
  ),
];

export const badTopologies: readonly BadTopology[] = [
  ...yaml,
  ...members,
  ...shared,
  ...secrets,
  ...blobs,
  ...names,
  ...lines,
];
