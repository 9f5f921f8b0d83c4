/** What a Pod of a topology must be beyond its schema: reachable as the deployment allows, its secrets sealed for their places. */
import { decodeProtectedHeader } from "jose";
import { isHost } from "../lib/address.ts";
import { digestParts, parseDigest } from "../oci/digest.ts";
import { parseRepositoryName } from "../oci/repository-name.ts";
import { type Store, signerOf, storeOrigin } from "../signers/index.ts";
import { type Mistake, type Path, quote } from "./mistake.ts";
import { maxTextCharacters, type Rules } from "./rules.ts";
import { storeMistakes } from "./store-mistakes.ts";
import type { TopologyPod } from "./topology.ts";

export function* checkPod(id: string, pod: TopologyPod, rules: Rules): Generator<Mistake> {
  const path: Path = ["pods", id];
  const mistake = (members: Path, text: string): Mistake => ({ path: [...path, ...members], at: "value", text });
  const urls: [Path, string][] = [
    [["registry"], pod.registry],
    [["token"], pod.token],
    ...pod.blobs.stores.flatMap((store, index) => originOf(store, ["blobs", "stores", index])),
  ];
  for (const [members, url] of urls) {
    const wrong = wrongUrl(url, rules);
    if (wrong !== null) yield mistake(members, `${quote(url, members)} ${wrong}`);
  }
  const blobHosts: [Path, string][] = [
    ...pod.blobs.hosts.map((host, index): [Path, string] => [["blobs", "hosts", index], host]),
    ...urls.slice(2).map(([members, url]): [Path, string] => [members, new URL(url).host]),
  ];
  for (const [members, host] of blobHosts) {
    const wrong = wrongBlobHost(host, rules);
    if (wrong !== null) yield mistake(members, `${quote(host, members)} ${wrong}`);
  }
  for (const text of storeMistakes(pod.blobs.stores)) {
    const [, index, rest = ""] = /^stores\.(\d+)[.:] ?(.*)$/.exec(text) ?? [];
    yield mistake(["blobs", "stores", Number(index)], rest);
  }
  for (const { members, sealed, ...place } of rules.seals === "checked" ? sealedOf(pod) : []) {
    const wrong = wrongSeal(sealed, { pod: id, ...place });
    if (wrong !== null) yield mistake(members, wrong);
  }
  if (rules.auth === "none" && pod.keys.length > 0) {
    yield mistake(["keys"], 'has a token key, yet AUTH is "none" and no token reaches a Pod; want [], or AUTH "token"');
  }
  if ((pod.reason ?? "").length > maxTextCharacters) {
    yield mistake(["reason"], `has ${pod.reason?.length} characters; want at most ${maxTextCharacters}`);
  }
  if (pod.probe === undefined) return;
  const repository = parseRepositoryName(pod.probe.repository);
  const digest = parseDigest(pod.probe.digest);
  if (!repository.ok) yield mistake(["probe", "repository"], repository.error);
  if (!digest.ok) yield mistake(["probe", "digest"], digest.error);
  else if (digestParts(digest.value).algorithm !== "sha256") {
    yield mistake(
      ["probe", "digest"],
      `${quote(digest.value, ["digest"])} is not a sha256, and the edge signs URLs only for these`,
    );
  }
}

const originOf = (store: Store, path: Path): [Path, string][] => {
  const origin = storeOrigin(store);
  return origin === null ? [] : [[path, origin]];
};

function wrongUrl(text: string, { plainHttp }: Rules): string | null {
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== "" || password !== "") return "holds a user name or password; want none in a URL";
  if (protocol === "https:") return null;
  if (protocol !== "http:") return "is neither https nor http; want https";
  const allowed = plainHttp === "everywhere" || (plainHttp === "loopback" && isLoopback(hostname));
  return allowed ? null : "is not encrypted; want https";
}

const isLoopback = (hostname: string): boolean => /^((.+\.)?localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);

/** The edge's own host name that this one is, or is below: Go's client sends its token along to such a host, on any port. */
export const edgeHostAbove = (hostname: string, edgeHosts: readonly string[]): string | undefined =>
  edgeHosts.find((edge) => hostname === edge || hostname.endsWith(`.${edge}`));

function wrongBlobHost(host: string, { edgeHosts }: Rules): string | null {
  if (!isHost(host)) return "is no host; want a name and a port, if it has one";
  const edge = edgeHostAbove(new URL(`https://${host}`).hostname, edgeHosts);
  if (edge === undefined) return null;
  return `is the edge's own host name "${edge}" or below it, and clients would send it their tokens; want another domain`;
}

type Sealed = {
  readonly members: Path;
  readonly sealed: string;
  readonly field: string;
  readonly scheme: string;
  readonly target: string;
};

function sealedOf({ registry, trust, blobs }: TopologyPod): readonly Sealed[] {
  const stores = blobs.stores.flatMap((store, index): Sealed[] => {
    if (store.scheme === "pod" || !("credentials" in store) || store.credentials === undefined) return [];
    const members = ["blobs", "stores", index, "credentials"] as const;
    return [
      {
        members,
        sealed: store.credentials,
        field: members.join("."),
        scheme: store.scheme,
        target: signerOf(store).target(store),
      },
    ];
  });
  if (trust === undefined || trust.kind === "binding") return stores;
  const [member, sealed] =
    trust.kind === "header" ? (["value", trust.value] as const) : (["clientSecret", trust.clientSecret] as const);
  return [
    ...stores,
    { members: ["trust", member], sealed, field: `trust.${member}`, scheme: trust.kind, target: registry },
  ];
}

const placeMembers = ["pod", "field", "scheme", "target"] as const;

/** Never quotes the value: what is no JWE may be the secret itself. */
function wrongSeal(sealed: string, place: Readonly<Record<(typeof placeMembers)[number], string>>): string | null {
  const header = headerOf(sealed);
  if (header === null) return "is no sealed value but perhaps the secret itself; want what `podctl seal` prints";
  const wrong = placeMembers.find((member) => header[member] !== place[member]);
  if (wrong === undefined) return null;
  return `was sealed for another place; want one sealed for ${wrong} ${JSON.stringify(place[wrong])}`;
}

function headerOf(sealed: string): Readonly<Record<string, unknown>> | null {
  if (!/^[\w-]+\.[\w-]*\.[\w-]+\.[\w-]+\.[\w-]+$/.test(sealed)) return null;
  try {
    return { ...decodeProtectedHeader(sealed) };
  } catch {
    return null;
  }
}
