/** What may be found, and what to do about it. A name is stable: scripts and the runbook go by it. */
export const advice = {
  "record-wrong": "mend the Pod in the topology and apply it: no request reaches a Pod whose record does not parse",
  "edge-unreachable": "see whether the Worker is deployed and its route is in place",
  "probe-off": "set the secret PROBE_TOKEN (`podctl keys generate` prints one): without it stores cannot be checked",
  "probe-refused": "give podctl the deployment's own PROBE_TOKEN",
  "edge-behind":
    "run doctor again in a minute: the edge has not read the Pod's newest record yet, or its Worker is too old to",
  "registry-unreachable": "see whether the registry runs, and whether `registry` is its address",
  "registry-wrong": "point `registry` at the registry's own origin: what answers there is none",
  "token-unreachable": "see whether the token service runs, and whether `token` is its URL",
  "token-wrong": "point `token` at the token service's whole realm, as the registry's challenge names it",
  "credentials-refused": "set PODCTL_USER and PODCTL_PASSWORD to a user who may pull the probe repository",
  "audience-wrong": "set `audience` to the service that the registry's challenge names",
  "issuer-wrong": "set `issuer` to the `iss` of the tokens",
  "key-unknown": "add the token service's public key to `keys` (`podctl keys import`)",
  "key-wrong": "replace the key of this kid in `keys`: the tokens are signed by another one",
  "token-refused": "give the registry its token service's issuer, service and certificate: it refuses its tokens",
  "clock-skew": "set the clock by NTP: tokens and signed URLs live by it, with a minute of leeway at most",
  "probe-missing": "push the probe's image again, or set `probe` to a blob that is in its repository",
  "redirect-unlisted":
    "add the host to `blobs.hosts` if it is the Pod's own storage; it must be reached by https, as the Pod is",
  "redirect-off": "turn the registry's storage redirect on, or give the Pod a store that the edge can sign for",
  "store-sealed": "seal the store's credentials again, for this Pod, field, scheme and target",
  "store-unreachable": "see whether the storage runs, and whether the store's address is right",
  "store-refuses": "seal the access key that may read this bucket; see also region and clock",
  "store-missing": "see whether bucket, prefix and root directory are those of the registry",
  "store-legacy-root":
    "give the azure store `legacyRoot: true` if its registry writes below `//` (docker-registry 2.8), else take it out",
  "store-wrong": "see what stands before the storage: the answer is not the blob's",
  "blob-host-under-edge":
    "serve blobs from a host name that is neither the edge's nor below it: Go clients send it their token",
  "push-refused": "see the registry's log: it takes no upload",
  "location-foreign":
    "let the registry believe X-Forwarded-Host or set its own `http.host`: the edge answers 502 to other hosts",
  "deletes-off": "turn deletes on in the registry (storage.delete.enabled)",
  "manifests-lenient": "set `blobs.proof` to head: this registry takes manifests whose blobs are not in the repository",
  "edge-differs": "see the edge's log for this request: what answers podctl does not answer the edge",
} as const satisfies Readonly<Record<string, string>>;

export type Finding = keyof typeof advice;

/** One line of the table. `pod` is "edge" where no Pod is to blame. */
export type Check = {
  readonly pod: string;
  readonly check: string;
  readonly text: string;
} & ({ readonly status: "ok" | "skipped" } | { readonly status: "finding"; readonly finding: Finding });

/** The checks of one Pod as they are made. */
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
