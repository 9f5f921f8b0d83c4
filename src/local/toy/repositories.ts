import type { Digest } from "../../oci/digest.ts";
import type { Tag } from "../../oci/reference.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import type { StoredManifest } from "./parse-manifest.ts";

/** All that the toy registry knows about a repository. The blobs' bytes are in storage, and several repositories can share them. */
export type Repository = {
  /** Maps the digest that the client gave to the sha256 under which distribution keeps the bytes. */
  readonly blobs: Map<Digest, Digest>;
  readonly manifests: Map<Digest, StoredManifest>;
  readonly tags: Map<Tag, Digest>;
  /** For each subject, the manifests that name it. */
  readonly referrers: Map<Digest, Set<Digest>>;
  /** Whether a tag was ever pushed. Before that, distribution answers the tag list with NAME_UNKNOWN. */
  everTagged: boolean;
};

export class Repositories {
  readonly #repositories = new Map<RepositoryName, Repository>();

  find(name: RepositoryName): Repository | undefined {
    return this.#repositories.get(name);
  }

  /** Creates the repository if it does not exist yet. */
  open(name: RepositoryName): Repository {
    const found = this.#repositories.get(name);
    if (found !== undefined) return found;
    const fresh: Repository = {
      blobs: new Map(),
      manifests: new Map(),
      tags: new Map(),
      referrers: new Map(),
      everTagged: false,
    };
    this.#repositories.set(name, fresh);
    return fresh;
  }

  findBlob(name: RepositoryName, digest: Digest): Digest | undefined {
    return this.#repositories.get(name)?.blobs.get(digest);
  }

  /** Returns the names in distribution's order: names are compared part by part, so `a/b` comes before `a-b`. */
  names(): readonly RepositoryName[] {
    const keyed = [...this.#repositories.keys()].map((name) => ({ name, key: name.replaceAll("/", "\0") }));
    return keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ name }) => name);
  }
}
