/** What each finding tells the operator to do. We never rename a finding, because scripts and the runbook use the names. */
export const advice = {
  "record-wrong":
    "correct the topology and apply it, which writes the record again: until then, requests that need it get 503 (docs/runbook.md, A record is damaged)",
  "assignment-unfound":
    "assign the prefix again by `podctl assign`, or apply a topology that has it: both raise `depth`, and until then the edge does not find it",
  "pod-missing":
    "apply a topology that has this Pod, or assign the prefix to another one: until then, requests that need the Pod get 503",
  "sealed-before":
    "seal this value again with the newest key (`podctl keys public`) and apply: it no longer opens when the Worker's older key is removed",
  "edge-unreachable": "check that the Worker is deployed and that its route is in place",
  "edge-wrong":
    "look in the Worker's log, whose `cause` names a variable, secret or binding that is wrong or missing: until it is right, the edge answers clients with 500",
  "realm-elsewhere":
    "let REALM end in /jwt/auth, and route this path to the Worker by a pattern that ends in `*`: Cloudflare matches it with the query, which every request for a token has",
  "probe-off": "set the secret PROBE_TOKEN (`podctl keys generate` prints one): without it stores cannot be checked",
  "probe-refused": "set PODCTL_PROBE_TOKEN to the Worker's own PROBE_TOKEN",
  "edge-behind":
    "run doctor again in a minute: the edge has not yet read the Pod's newest record; if it stays so, deploy again: the Worker is too old to read the record, or reads another KV namespace",
  "trust-sealed":
    "seal the secret of `trust` again, for this Pod and its `registry`: until then the edge sends the registry nothing",
  "registry-unreachable": "check that the registry runs and that `registry` is its address",
  "registry-wrong":
    "check that `registry` is the registry's own origin and that no proxy answers for it: a registry does not answer like this",
  "registry-shared":
    "correct the topology: Pods of one registry have the same issuer, audience and storage, and each has its own keys",
  "token-unreachable": "check that the token service runs and that `token` is its URL",
  "token-wrong":
    "set `token` to the whole URL of the token service: that is the realm in the registry's challenge, unless the Worker takes it by a route; GitLab also answers 404 if `audience` is wrong",
  "credentials-refused":
    "set PODCTL_USER and PODCTL_PASSWORD, or PODCTL_USER_<POD> and PODCTL_PASSWORD_<POD> of this Pod, to a user who may do this",
  "audience-wrong": "set `audience` to the service that the registry's challenge names",
  "issuer-wrong": "set `issuer` to the `iss` of the tokens",
  "key-unknown": "add the token service's public key to `keys` (`podctl keys import`)",
  "key-wrong": "replace the key of this kid in `keys`: the tokens are signed by another key",
  "key-unusable": "replace this key in `keys` (`podctl keys import`): the edge refuses every token that names it",
  "token-claims":
    "let the token service set an `exp` that is in the future, no `nbf` that is in the future, and at most ten audiences in `aud`",
  "token-refused":
    "give the registry its token service's issuer, service and certificate: it refuses that service's tokens; if the Pod has `trust`, its proxy may want another secret than the sealed one",
  "clock-skew": "set the clock by NTP: tokens and signed URLs depend on it, with at most a minute of leeway",
  "probe-missing": "push the probe's image again, or set `probe` to a blob that is in its repository",
  "redirect-unlisted":
    "if the host is the Pod's own storage, add it to `blobs.hosts`; the storage must use https if the registry does; a login page of Cloudflare Access means that Access refuses the secret of `trust`",
  "redirect-off": "turn on the registry's storage redirect, or give the Pod a store that the edge can sign for",
  "store-sealed": "seal the store's credentials again, for this Pod, field, scheme and target",
  "store-unreachable": "check that the storage runs and that the store's address is right",
  "store-refuses":
    "seal an access key that may read this bucket, and check the clock; after AccessDenied, also check bucket and prefix: S3 also answers so about a missing blob if the key lacks s3:ListBucket",
  "store-region": "set `endpoint` and `region` to those of the bucket: the storage says that the bucket is elsewhere",
  "store-missing":
    "check that bucket, prefix and root directory are those of the registry, and that the Pod is not a pull-through cache",
  "store-legacy-root":
    "give the azure store `legacyRoot: true` if its registry writes below `//` (docker-registry 2.8), else remove it",
  "store-wrong": "check what is in front of the storage: a proxy may have answered instead of the blob",
  "blob-host-under-edge":
    "serve blobs from a host name that is neither the edge's nor below it: Go clients send their token to such a host",
  "gateway-unreachable": "check that the gateway runs, and that `gateway.url` is its address as clients reach it",
  "gateway-wrong": "check that `gateway.url` leads to a gateway and that no proxy answers for it",
  "gateway-sealed": "seal the gateway's key again, for this Pod and this `gateway.url`",
  "gateway-key":
    "give the gateway this Pod's id (POD) and the key that is sealed in the record (GATEWAY_KEY), or seal the gateway's own key",
  "gateway-edge":
    "add the origin by which clients call the edge to the gateway's EDGE: without it, the gateway refuses every upload",
  "gateway-registry":
    "set the gateway's REGISTRY to the registry's address as the gateway reaches it, not to a proxy that asks for the secret of `trust`",
  "push-refused":
    "look in the logs of the registry and of the proxy or tunnel in front of it: one of them refuses uploads",
  "location-foreign":
    "let the registry trust X-Forwarded-Host or set its own `http.host`: for any other host the edge answers 502",
  "deletes-off": "turn on deletes in the registry (storage.delete.enabled)",
  "manifests-lenient":
    "set `blobs.proof` to head: this registry accepts manifests whose blobs are not in the repository",
  "manifests-untested":
    "set `blobs.proof` to head: a registry that takes no uploads, such as a pull-through cache, cannot show that it refuses manifests without their blobs",
  "proof-without-blob":
    "if the Pod is a pull-through cache, give it `blobs.stores: [{scheme: pod}]`: it gives manifests before their blobs are in its storage; else the storage has lost a blob",
  "edge-differs": "look in the edge's log for this request: the Pod answers podctl, but it does not answer the edge",
} as const satisfies Readonly<Record<string, string>>;

export type Finding = keyof typeof advice;

/** One row of doctor's table. `pod` is "edge" in the rows about the edge itself. */
export type Check = {
  readonly pod: string;
  readonly check: string;
  readonly text: string;
} & ({ readonly status: "ok" | "skipped" } | { readonly status: "finding"; readonly finding: Finding });

export class Checks {
  readonly pod: string;
  readonly list: Check[] = [];

  constructor(pod: string) {
    this.pod = pod;
  }

  ok(check: string, text: string): void {
    this.list.push({ pod: this.pod, check, status: "ok", text });
  }

  skip(check: string, why: string): void {
    this.list.push({ pod: this.pod, check, status: "skipped", text: why });
  }

  found(check: string, finding: Finding, text: string): void {
    this.list.push({ pod: this.pod, check, status: "finding", finding, text });
  }

  get healthy(): boolean {
    return this.list.every(({ status }) => status !== "finding");
  }
}
