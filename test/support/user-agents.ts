/** Names and User-Agents of clients that may give their token or password to a host other than the registry's. */
export const carelessAgents = [
  // These use the library containers/image, which sends the registry's token also to the host that a redirect names.
  ["skopeo", "skopeo/1.9.3"],
  ["podman", "libpod/4.3.1"],
  ["buildah", "Buildah/1.28.2"],
  // If a host other than the registry answers 401, Jib and older versions of regctl give the registry's password to the token service of this 401.
  ["Jib", "jib 3.4.6 jib-maven-plugin"],
  ["regctl before 0.11.5", "regclient/regctl (v0.11.4)"],
  ["regctl before its release of 0.11.5", "regclient/regctl (v0.11.5-0.20260501000000-0123456789ab)"],
  ["regctl that does not say its version", "regclient/regctl (0123456789abcdef)"],
  // regclient is also a library. A program that uses it may send its own version, which says nothing about regclient's.
  ["a program with regclient", "regclient/regclient (v1.2.3)"],
  ["an unknown client", "my-tool/1.0"],
  ["a client without a User-Agent", ""],
] as const;

/** Names and User-Agents of clients that follow a redirect to another host and give that host neither token nor password. */
export const carefulAgents = [
  [
    "docker",
    "docker/20.10.24 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0 os/linux arch/amd64 UpstreamClient(Docker-Client/20.10.24)",
  ],
  ["containerd", "containerd/2.0.0"],
  ["BuildKit", "buildkit/v0.32"],
  ["crane", "crane/v0.21.9 go-containerregistry/v0.21.9"],
  ["regctl 0.11.5", "regclient/regctl (v0.11.5)"],
  ["regctl 0.11.12", "regclient/regctl (v0.11.12)"],
  ["regsync 0.12", "regclient/regsync (v0.12.0)"],
  ["regctl 1", "regclient/regctl (v1.0.0)"],
] as const;
