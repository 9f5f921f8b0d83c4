import type { Digest } from "../../oci/digest.ts";
import type { Tag } from "../../oci/reference.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import type { StoredManifest } from "./parse-manifest.ts";

/** All that the toy registry knows about a repository. The bytes of blobs are in storage, where repositories share them. */
export type Repository = {
  readonly blobs: Set<Digest>;
  readonly manifests: Map<Digest, StoredManifest>;
  readonly tags: Map<Tag, Digest>;
  /** Distribution answers NAME_UNKNOWN for the tag list until the first tag is pushed. */
  everTagged: boolean;
};

export class Repositories {
  readonly #repositories = new Map<RepositoryName, Repository>();

  find(name: RepositoryName): Repository | undefined {
    return this.#repositories.get(name);
  }

  /** For writing. A repository is created when its first blob or manifest is pushed. */
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

  /** In distribution's order, which compares components, so `a/b` comes before `a-b`. */
  names(): readonly RepositoryName[] {
    const key = (name: string) => name.replaceAll("/", "\0");
    return [...this.#repositories.keys()].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  }
}
