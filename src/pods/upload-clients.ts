/**
 * How a client treats a push location on another host than its registry's. `stays`: the client refuses the location, so its uploads stay on the edge. `goes`:
 * the client goes there, and that host gets neither its token nor its password. `goes-with-credentials`: that host may get them, at once or by a 401.
 */
export type Travel = "stays" | "goes" | "goes-with-credentials";

type Row = { readonly userAgent: RegExp; readonly travel: Travel };

/**
 * The first row that fits counts. Each row says what the client's own code does. The other host may also answer 401 with a challenge of its choice,
 * and the row is true for this case, too.
 */
const clients: readonly Row[] = [
  // oras-go ≥ 2.6.1 (registry/remote/repository.go): "blob upload Location … is on a different host than the registry". Older versions sent their
  // token to that host.
  { userAgent: /\boras(-go)?\b/i, travel: "stays" },
  // Helm ≥ 3.21.1 and ≥ 4.2.1 use such an oras-go, but their User-Agent does not name it.
  { userAgent: /^helm\//i, travel: "stays" },
  // Notation uses oras-go too.
  { userAgent: /^notation\b/i, travel: "stays" },
  // moby (distribution/registry.go) adds its token only to requests for the registry's own host, and reads a challenge only in the answer to `GET /v2/`.
  { userAgent: /^docker\//i, travel: "goes" },
  // containerd (core/remotes/docker/pusher.go) drops its authorizer for another host, so a 401 there is final. BuildKit and docker with the containerd
  // store use this code.
  { userAgent: /\bcontainerd\/|^buildkit\//i, travel: "goes" },
  // go-containerregistry (pkg/v1/remote/transport/bearer.go) sends its token only to the registry's own host. After a 401 of another host, it asks for a
  // token at the registry's own realm, or, in newer versions, without a user. crane, kaniko, ko and cosign use it.
  { userAgent: /\bgo-containerregistry\b/i, travel: "goes" },
  // regclient ≥ 0.11.5 (internal/reghttp, `AuthCreds`) has credentials for the registry's own host only. Older versions give the registry's password to
  // the realm that another host's 401 names (CVE-2026-49349). Only regclient's own programs say regclient's version.
  {
    userAgent: /^regclient\/reg(ctl|sync|bot) \(v(0\.11\.(5\)|[6-9]|[1-9]\d)|0\.(1[2-9]|[2-9]\d)\.|[1-9]\d*\.)/i,
    travel: "goes",
  },
  // Jib (RegistryEndpointCaller, RegistryClient.refreshBearerAuth) sends its token to any host, and its password to the realm that this host's 401 names.
  { userAgent: /^jib\b/i, travel: "goes-with-credentials" },
];

/**
 * A client that no row names may do anything. containers/image (skopeo, podman, buildah) has no row, because its User-Agent is that of the program.
 * It sends its token to any host (docker/docker_client.go). If that host answers 401, it also sends a token for any scope that the 401 names.
 */
export const travelOf = (userAgent: string | null): Travel =>
  clients.find((row) => row.userAgent.test(userAgent ?? ""))?.travel ?? "goes-with-credentials";
