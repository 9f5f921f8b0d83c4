/**
 * How a client treats a push location on another host than its registry's. `stays`: the client refuses the location, so its uploads stay on the edge.
 * `goes`: the client goes there, and sends that host neither its token nor its password. `goes-with-credentials`: that host may get them, either at
 * once or after it has answered 401.
 */
type Travel = "stays" | "goes" | "goes-with-credentials";

type Row = { readonly userAgent: RegExp; readonly travel: Travel };

/**
 * The first row that fits counts. We read `travel` in each client's source code, for the worst case: the push location's host is hostile, and answers
 * 401 with a realm that collects credentials.
 */
const clients: readonly Row[] = [
  // oras-go ≥ 2.6.1 (registry/remote/repository.go) fails with "blob upload Location … is on a different host than the registry". Older versions
  // would send their token to that host, so their uploads stay on the edge too.
  { userAgent: /\boras(-go)?\b/i, travel: "stays" },
  // These programs use oras-go, but their User-Agent does not name it: Helm (oras-go ≥ 2.6.1 since Helm 3.21.1 and 4.2.1), Notation, Zarf, falcoctl.
  // oras-go itself sends Go's own User-Agent if its program sets none, as modctl does (registry/remote/auth/client.go, `Client.Header`).
  { userAgent: /^(helm|notation|zarf|falcoctl|go-http-client)\b/i, travel: "stays" },
  // moby (distribution/registry.go) adds its token only to requests for the registry's own host. It reads a challenge only in the answer to
  // `GET /v2/`.
  { userAgent: /^docker\//i, travel: "goes" },
  // containerd (core/remotes/docker/pusher.go) sends no credentials to another host, and a 401 of that host ends the push. BuildKit and docker with
  // the containerd store use this code.
  { userAgent: /\bcontainerd\/|^buildkit\//i, travel: "goes" },
  // go-containerregistry (pkg/v1/remote/transport/bearer.go) sends its token only to the registry's own host. If another host answers 401, older
  // versions ask the registry's own realm for a token. Newer ones ask the realm of the 401, but without a user. crane, kaniko, ko and cosign use this
  // code.
  { userAgent: /\bgo-containerregistry\b/i, travel: "goes" },
  // regclient ≥ 0.11.5 (internal/reghttp, `AuthCreds`) sends credentials only for the registry's own host. Older versions give the registry's
  // password to the realm that another host's 401 names (CVE-2026-49349). Only regclient's own programs have its version in their User-Agent, so no
  // other program fits.
  {
    userAgent: /^regclient\/reg(ctl|sync|bot) \(v(0\.11\.(5\)|[6-9]|[1-9]\d)|0\.(1[2-9]|[2-9]\d)\.|[1-9]\d*\.)/i,
    travel: "goes",
  },
  // Jib (RegistryEndpointCaller, RegistryClient.refreshBearerAuth) sends its token to any host. If that host answers 401, Jib sends its password to
  // the realm that the 401 names.
  { userAgent: /^jib\b/i, travel: "goes-with-credentials" },
];

/**
 * For a client without a row, returns the worst case: its credentials go along. containers/image (skopeo, podman, buildah) has no row, because its
 * User-Agent names only the program that uses it. containers/image sends its token to any host (docker/docker_client.go) and, after that host's 401,
 * also a token for any scope that the 401 names.
 */
export const travelOf = (userAgent: string | null): Travel =>
  clients.find((row) => row.userAgent.test(userAgent ?? ""))?.travel ?? "goes-with-credentials";
