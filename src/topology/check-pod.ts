/**
 * Makes the checks that a Pod's schema cannot make, such as whether the deployment allows its URLs and whether its secrets are sealed for their
 * places.
 */
import { decodeProtectedHeader } from "jose";
import { tokenKeyKey } from "../directory/keys.ts";
import type { PublicKey } from "../directory/records.ts";
import { allowsPlainHttp, isHost, parseIp } from "../lib/address.ts";
import { digestParts } from "../oci/digest.ts";
import { type Store, signerOf, storeOrigin } from "../signers/index.ts";
import { type KeyMistake, keyMistake } from "./key-mistake.ts";
import { type Mistake, type Path, quote } from "./mistake.ts";
import { maxTextCharacters } from "./settings.ts";
import { storeMistakes } from "./store-mistakes.ts";
import type { Rules, TopologyPod } from "./topology.ts";

/** A value of a Pod, and where it is in the Pod. */
type Place = readonly [members: Path, value: string];

export function* checkPod(id: string, pod: TopologyPod, rules: Rules): Generator<Mistake> {
  const mistake = (members: Path, text: string): Mistake => ({ path: ["pods", id, ...members], at: "value", text });
  const wrongOf = (places: readonly Place[], whyWrong: (value: string, rules: Rules) => string | null) =>
    places.flatMap(([members, value]) => {
      const why = whyWrong(value, rules);
      return why === null ? [] : [mistake(members, `${quote(value, members)} ${why}`)];
    });
  const services: readonly Place[] = [
    [["registry"], pod.registry],
    [["token"], pod.token],
  ];
  const stores = pod.blobs.stores.flatMap((store, index) => originOf(store, ["blobs", "stores", index]));
  const gateways: readonly Place[] = pod.gateway ? [[["gateway", "url"], pod.gateway.url]] : [];
  const blobHosts: readonly Place[] = [
    ...pod.blobs.hosts.map((host, index): Place => [["blobs", "hosts", index], host]),
    ...stores.map(([members, url]): Place => [members, new URL(url).host]),
  ];
  yield* wrongOf([...services, ...stores, ...gateways], wrongUrl);
  yield* wrongOf(blobHosts, wrongBlobHost);
  yield* wrongOf([...services, ...gateways], whyEdge);
  if (pod.trust?.kind !== "binding") yield* wrongOf(services, whyUnreachableService);
  // The Worker calls a gateway without the binding of `trust`. So a gateway's URL needs a hostname even if there is a binding.
  yield* wrongOf(gateways, whyUnreachable);
  for (const { store, text } of storeMistakes(pod.blobs.stores)) yield mistake(["blobs", "stores", store], text);
  for (const { members, sealed, ...place } of rules.seals === "checked" ? sealedOf(pod) : []) {
    const wrong = wrongSeal(sealed, { pod: id, ...place });
    if (wrong !== null) yield mistake(members, wrong);
  }
  for (const [index, key] of pod.keys.entries()) {
    const wrong = keyMistake(key) ?? kidMistake(key);
    if (wrong !== null) yield mistake(["keys", index, ...wrong.path], wrong.text);
  }
  if (rules.auth === "none" && pod.keys.length > 0) {
    yield mistake(["keys"], 'has a token key, but AUTH is "none", so no token reaches a Pod; want [], or AUTH "token"');
  }
  if (pod.reason !== undefined && pod.state === "active") {
    const text = "is only for `state: read-only` and `state: down`; remove it, or set one of these states";
    yield mistake(["reason"], text);
  }
  if ((pod.reason ?? "").length > maxTextCharacters) {
    yield mistake(["reason"], `has ${pod.reason?.length} characters; want at most ${maxTextCharacters}`);
  }
  const digest = pod.probe?.digest;
  if (digest !== undefined && digestParts(digest).algorithm !== "sha256") {
    const text = `${quote(digest, ["digest"])} is not a sha256, and the edge signs URLs only for these`;
    yield mistake(["probe", "digest"], text);
  }
}

/** The kid is a part of a KV key, which is UTF-8 and has at most 512 bytes. */
function kidMistake({ kid }: PublicKey): KeyMistake | null {
  if (kid.isWellFormed() && Buffer.byteLength(tokenKeyKey(kid)) <= 512) return null;
  return {
    path: ["kid"],
    text: `${quote(kid, [])} cannot be in a key of KV; want at most 508 bytes of whole characters`,
  };
}

const originOf = (store: Store, path: Path): readonly Place[] => {
  const origin = storeOrigin(store);
  return origin === null ? [] : [[path, origin]];
};

function wrongUrl(text: string, { plainHttp }: Rules): string | null {
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== "" || password !== "") return "contains a user name or a password; remove it from the URL";
  if (/[?# ]/.test(text)) return "has a query, a fragment or a space; want the URL without it: the edge adds a query";
  if (protocol === "https:") return null;
  if (protocol !== "http:") return "is neither https nor http; want https";
  return allowsPlainHttp(plainHttp, hostname) ? null : "is not encrypted; want https";
}

/** Cloudflare answers a Worker's request to an IP address with its error 1003. The local stack can call the addresses of its own machine. */
function whyUnreachable(url: string, { plainHttp }: Rules): string | null {
  const { hostname } = new URL(url);
  const isReachable = parseIp(hostname.replace(/^\[|\]$/g, "")) === null || allowsPlainHttp(plainHttp, hostname);
  return isReachable ? null : "is an IP address, which a Worker cannot call; want a hostname";
}

function whyUnreachableService(url: string, rules: Rules): string | null {
  const why = whyUnreachable(url, rules);
  return why && `${why}, or \`trust\` by a binding`;
}

/** Says why the edge's requests to this URL would come back to the edge. Null if they would not. */
export function whyEdge(url: string, { edgeHosts, realm }: Pick<Rules, "edgeHosts" | "realm">): string | null {
  if (edgeHosts.includes(new URL(url).host)) return "is the edge itself, not the Pod; want the Pod's own host";
  // REALM may be on GitLab's host, where the Worker's route takes only the path of REALM. So we compare the whole URLs, not the hosts.
  if (realm === null || URL.parse(realm)?.href !== URL.parse(url)?.href) return null;
  return "is REALM, where the edge itself answers; want a URL of the token service that no route of the Worker takes";
}

/**
 * Returns the edge's host name that equals `hostname` or is a domain above it. If the edge redirected Go's HTTP client to such a `hostname`, on any
 * port, the client would send its token there.
 */
export const edgeHostAbove = (hostname: string, edgeHosts: readonly string[]): string | undefined =>
  edgeHosts.find((edge) => hostname === edge || hostname.endsWith(`.${edge}`));

function wrongBlobHost(host: string, { edgeHosts }: Rules): string | null {
  if (!isHost(host)) return "is not a host; want a name, with a port if it needs one";
  const parsed = new URL(`https://${host}`);
  // The edge compares `host` with the host of a redirect's parsed URL, which has small letters and no default port.
  if (parsed.host !== host) return `is a form that matches no redirect; want ${JSON.stringify(parsed.host)}`;
  const edge = edgeHostAbove(parsed.hostname, edgeHosts);
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

type Sealing = Pick<TopologyPod, "registry" | "trust" | "gateway" | "blobs">;

/** Returns every sealed value of a Pod, with the place for which it must be sealed. */
export function sealedOf({ registry, trust, gateway, blobs }: Sealing): readonly Sealed[] {
  const all = blobs.stores.flatMap((store, index): Omit<Sealed, "field">[] => {
    if (store.scheme === "pod" || !("credentials" in store) || store.credentials === undefined) return [];
    const members = ["blobs", "stores", index, "credentials"];
    return [{ members, sealed: store.credentials, scheme: store.scheme, target: signerOf(store).target(store) }];
  });
  if (gateway) all.push({ members: ["gateway", "key"], sealed: gateway.key, scheme: "gateway", target: gateway.url });
  if (trust?.kind === "header")
    all.push({ members: ["trust", "value"], sealed: trust.value, scheme: trust.kind, target: registry });
  if (trust?.kind === "access")
    all.push({ members: ["trust", "clientSecret"], sealed: trust.clientSecret, scheme: trust.kind, target: registry });
  return all.map((each) => ({ ...each, field: each.members.join(".") }));
}

const placeMembers = ["pod", "field", "scheme", "target"] as const;

/** The message never quotes the value, because a value that is not a JWE may be the secret itself. */
function wrongSeal(sealed: string, place: Readonly<Record<(typeof placeMembers)[number], string>>): string | null {
  const header = headerOf(sealed);
  if (header === null) return "is not a sealed value, and may be the secret itself; want what `podctl seal` prints";
  const wrong = placeMembers.find((member) => header[member] !== place[member]);
  if (wrong === undefined) return null;
  return `was sealed for another place; want one sealed for ${wrong} ${JSON.stringify(place[wrong])}`;
}

/** The protected header of a sealed value. Null if the text is no sealed value. */
export function headerOf(sealed: string): Readonly<Record<string, unknown>> | null {
  if (!/^[\w-]+\.[\w-]*\.[\w-]+\.[\w-]+\.[\w-]+$/.test(sealed)) return null;
  try {
    return { ...decodeProtectedHeader(sealed) };
  } catch {
    return null;
  }
}
