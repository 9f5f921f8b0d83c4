import type { Digest } from "../../oci/digest.ts";
import type { Tag } from "../../oci/reference.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import type { StoredManifest } from "./manifest.ts";

/** All that a registry knows of one repository. Blob bytes are in storage, shared by every repository that links them. */
export type Repository = {
  readonly blobs: Set<Digest>;
  readonly manifests: Map<Digest, StoredManifest>;
  readonly tags: Map<Tag, Digest>;
  /** Distribution knows a repository's tag list only once a tag was pushed. */
  everTagged: boolean;
};

export class Repositories {
  readonly #repositories = new Map<RepositoryName, Repository>();

  find(name: RepositoryName): Repository | undefined {
    return this.#repositories.get(name);
  }

  /** For writing: a repository comes to be by its first blob or manifest. */
  open(name: RepositoryName): Repository {
    const found = this.#repositories.get(name);
    if (found !== undefined) return found;
    const fresh: Repository = { blobs: new Set(), manifests: new Map(), tags: new Map(), everTagged: false };
    this.#repositories.set(name, fresh);
    return fresh;
  }

  hasBlob(name: RepositoryName, digest: Digest): boolean {
    return this.#repositories.get(name)?.blobs.has(digest) ?? false;
  }

  /** In the order of distribution's walk: by components, so `a/b` comes before `a-b`. */
  names(): readonly RepositoryName[] {
    const key = (name: string) => name.replaceAll("/", "\0");
    return [...this.#repositories.keys()].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  }
}
