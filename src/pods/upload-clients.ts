/**
 * How a client treats a push location on another host than its registry's. `stays`: the client refuses the location, so its uploads stay on the edge. `goes`:
 * the client goes there without its token. `goes-with-token`: the client may send its whole token there.
 */
export type Travel = "stays" | "goes" | "goes-with-token";

type Row = { readonly userAgent: RegExp; readonly travel: Travel };

/** The first row that fits counts. Each row says what the client's own code does. */
const clients: readonly Row[] = [
  // oras-go ≥ 2.6.1 (registry/remote/repository.go): "blob upload Location … is on a different host than the registry". Older versions sent their
  // token to that host.
  { userAgent: /\boras(-go)?\b/i, travel: "stays" },
  // Helm ≥ 3.21.1 and ≥ 4.2.1 use such an oras-go, but their User-Agent does not name it.
  { userAgent: /^helm\//i, travel: "stays" },
  // Notation uses oras-go too.
  { userAgent: /^notation\b/i, travel: "stays" },
  // moby (distribution/registry.go) adds its token only to requests for the registry's own host.
  { userAgent: /^docker\//i, travel: "goes" },
  // containerd (core/remotes/docker/pusher.go) drops its authorizer for another host. BuildKit and docker with the containerd store use this code.
  { userAgent: /\bcontainerd\/|^buildkit\//i, travel: "goes" },
  // go-containerregistry (pkg/v1/remote/transport/bearer.go) sends its token only to the registry's own host. crane, kaniko, ko and cosign use it.
  { userAgent: /\bgo-containerregistry\b/i, travel: "goes" },
  // regclient (internal/reghttp) asks for credentials per host, so it sends a registry's token to no other host.
  { userAgent: /^regclient\//i, travel: "goes" },
];

/**
 * The OCI distribution spec lets a push location be on another host, so a client that no row names is sent there. containers/image (skopeo, podman,
 * buildah) is such a client: it sends its token to any host (docker/docker_client.go).
 */
export const travelOf = (userAgent: string | null): Travel =>
  clients.find((row) => row.userAgent.test(userAgent ?? ""))?.travel ?? "goes-with-token";
