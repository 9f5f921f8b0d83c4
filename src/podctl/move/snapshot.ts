/** What a repository holds at one registry: its tags, all manifests that can be reached from them, and which manifest refers to which. */
import { createHash } from "node:crypto";
import pMap from "p-map";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import { mediaTypeOf } from "../../oci/manifest-types.ts";
import type { Reference, Tag } from "../../oci/reference.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import { listReferrers, listTags, type Referrer, refused } from "./lists.ts";
import { digestedPart, digestOf, indexType, type ManifestParts, partsOf, signedType } from "./manifest-parts.ts";
import type { Registry } from "./registry.ts";
import { pullScope } from "./scopes.ts";

export type Snapshot = {
  readonly tags: ReadonlyMap<Tag, Digest>;
  /** Every manifest that a tag, an index or a referrer leads to. */
  readonly manifests: ReadonlySet<Digest>;
  /** The manifests that each index names. */
  readonly children: ReadonlyMap<Digest, readonly Digest[]>;
  /**
   * The referrers of each manifest that has any. They are from the registry's list or, if the registry has no such list, from the index under {@link
   * fallbackTag}.
   */
  readonly referrers: ReadonlyMap<Digest, readonly Referrer[]>;
  /** Whether the registry lists referrers (OCI end-12). */
  readonly listsReferrers: boolean;
};

type ManifestHead = { readonly digest: Digest; readonly type: string };
export type Manifest = ManifestHead & { readonly bytes: Uint8Array; readonly parts: ManifestParts };

const accept = [
  "application/vnd.oci.image.manifest.v1+json",
  indexType,
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.artifact.manifest.v1+json",
  signedType,
  "*/*;q=0.1",
].join(", ");

/** Null if the repository has no such manifest. */
export async function headManifest(
  registry: Registry,
  name: RepositoryName,
  reference: Reference,
): Promise<ManifestHead | null> {
  const path = `/v2/${name}/manifests/${reference}`;
  const answer = await registry.ask({ method: "HEAD", path, scopes: [pullScope(name)], headers: { Accept: accept } });
  if (answer.status === 404) return null;
  if (answer.status !== 200) throw refused(registry, `"${name}:${reference}"`, answer.status);
  const digest = parseDigest(String(answer.headers["docker-content-digest"] ?? ""));
  if (!digest.ok) return getManifest(registry, name, reference);
  return { digest: digest.value, type: mediaTypeOf(answer.headers["content-type"] ?? null) };
}

/** distribution and GitLab accept no larger manifest. */
const mostBytes = 4 * 1024 * 1024;
/**
 * How many blobs and manifests a manifest may name. Dozens of manifests are in memory at once, and those of a hostile Pod must not take hundreds of
 * megabytes each.
 */
const mostParts = 10_000;

/** Null if the repository has no such manifest. The digest is computed from the bytes (see `digestedPart`). */
export async function getManifest(
  registry: Registry,
  name: RepositoryName,
  reference: Reference,
): Promise<Manifest | null> {
  const path = `/v2/${name}/manifests/${reference}`;
  const answer = await registry.ask({ path, scopes: [pullScope(name)], headers: { Accept: accept } });
  if (answer.status === 404) return null;
  if (answer.status !== 200) throw refused(registry, `"${name}:${reference}"`, answer.status);
  const { bytes } = answer;
  const parts = bytes.byteLength > mostBytes ? null : partsOf(bytes);
  if (parts === null || parts.blobs.length + parts.children.length > mostParts) {
    throw new CliFailure(
      `"${name}:${reference}" at Pod "${registry.pod.id}" has more than ${mostBytes} bytes or names more than ${mostParts} blobs and manifests, so it cannot be moved`,
    );
  }
  const type = mediaTypeOf(answer.headers["content-type"] ?? null);
  return {
    digest: digestOf(digestedPart(bytes, type), reference.startsWith("sha512:") ? "sha512" : "sha256"),
    type,
    bytes,
    parts,
  };
}

/**
 * The tag of a manifest's index of referrers. Clients keep this index where the registry does not list referrers (OCI distribution spec, "Referrers
 * Tag Schema").
 */
export const fallbackTag = (digest: Digest): Tag => digest.replace(":", "-").slice(0, 128) as Tag;

const isIndexType = (type: string): boolean => /index|manifest\.list/.test(type);

export type SnapshotOptions = {
  readonly jobs: number;
  /** What an earlier snapshot has found. A manifest never changes, so we ask for the children of an index only once. */
  readonly known?: Pick<Snapshot, "children"> | undefined;
  /**
   * If a repository has more manifests than this, the command fails, because a hostile registry could name referrers of referrers without end. Only
   * tests set this.
   */
  readonly mostManifests?: number;
  readonly budget?: Budget;
};

/**
 * Bounds the memory that all snapshots of one round take together. Otherwise a hostile Pod could send so many long lists of referrers that podctl
 * runs out of memory in a freeze.
 */
export type Budget = {
  /** Returns false if the budget has fewer bytes left. */
  readonly spend: (bytes: number) => boolean;
};

/** How much memory a tag, a child or a referrer takes in a list, without the referrer's descriptor. */
const entryBytes = 200;
const budgetBytes = 512 * 1024 * 1024;

export function createBudget(bytes = budgetBytes): Budget {
  let left = bytes;
  return {
    spend: (more) => {
      left -= more;
      return left >= 0;
    },
  };
}

/** The digests of this many manifests take some 200 MB. */
const maxManifests = 1_000_000;

export async function takeSnapshot(
  registry: Registry,
  name: RepositoryName,
  { jobs, known, mostManifests = maxManifests, budget = createBudget() }: SnapshotOptions,
): Promise<Snapshot> {
  const listed = await listTags(registry, name);
  if (!budget.spend(listed.length * entryBytes)) throw tooMuch(registry, name);
  const heads = await pMap(listed, async (tag) => [tag, await headManifest(registry, name, tag)] as const, {
    concurrency: jobs,
  });
  const tags = new Map(heads.flatMap(([tag, head]) => (head === null ? [] : [[tag, head.digest] as const])));
  const walk = createWalk(registry, name, { known, mostManifests, budget });
  const tagged = new Map(heads.flatMap(([, head]) => (head === null ? [] : [[head.digest, head] as const])));
  for (let level = [...tagged.values()]; level.length > 0; ) {
    level = (await pMap(level, walk.visit, { concurrency: jobs })).flat();
  }
  return { tags, ...walk.result(tags) };
}

const tooMuch = ({ pod }: Registry, name: RepositoryName): CliFailure =>
  new CliFailure(
    `Pod "${pod.id}" names more tags, children and referrers than podctl can hold, up to those in "${name}"; look at what refers to its manifests there`,
  );

/** The digest of no bytes, which no manifest has. */
const emptyDigest = digestOf(new Uint8Array());

/**
 * Asks a registry for each digest's list of referrers. All lists are empty if the registry does not offer such lists. Throws a CliFailure if it
 * offers a list for one digest but not for another, because the move would then lose signatures.
 */
function createReferrerLists(registry: Registry, name: RepositoryName) {
  let hasList = false;
  let unlisted: Digest | null = null;
  const ask = async (digest: Digest): Promise<readonly Referrer[]> => {
    const own = await listReferrers(registry, name, digest);
    if (own === null) unlisted ??= digest;
    else hasList = true;
    if (hasList && unlisted !== null) {
      throw new CliFailure(
        `Pod "${registry.pod.id}" has no list of the referrers of "${name}@${unlisted}", and has one for other digests; look at what is in front of its registry`,
      );
    }
    return own ?? [];
  };
  return {
    areThere: (): boolean => unlisted === null,
    of: async (digest: Digest): Promise<readonly Referrer[]> => {
      if (unlisted !== null) return [];
      const own = await ask(digest);
      // A single missing list could look like a registry without lists. So we ask for a second list: a registry with lists has a list even for a
      // digest that no manifest has.
      if (!hasList) await ask(emptyDigest);
      return own;
    },
  };
}

function createWalk(
  registry: Registry,
  name: RepositoryName,
  { known, mostManifests, budget }: Required<Pick<SnapshotOptions, "known" | "mostManifests" | "budget">>,
) {
  const manifests = new Set<Digest>();
  const children = new Map<Digest, readonly Digest[]>();
  const referrers = new Map<Digest, readonly Referrer[]>();
  const lists = createReferrerLists(registry, name);
  const keep = (bytes: number): void => {
    if (!budget.spend(bytes)) throw tooMuch(registry, name);
  };
  const childrenOf = async ({ digest, type }: ManifestHead): Promise<readonly Digest[]> => {
    if (!isIndexType(type)) return [];
    const own = known?.children.get(digest) ?? (await getManifest(registry, name, digest))?.parts.children ?? [];
    keep(own.length * entryBytes);
    children.set(digest, own);
    return own;
  };
  const referrersOf = async (digest: Digest): Promise<readonly Referrer[]> => {
    const own = await lists.of(digest);
    for (const { descriptor } of own) keep(entryBytes + JSON.stringify(descriptor).length);
    if (own.length > 0) referrers.set(digest, own);
    return own;
  };
  return {
    /** Returns the manifests to which this manifest leads, without those that were seen before. */
    visit: async (head: ManifestHead): Promise<ManifestHead[]> => {
      if (manifests.has(head.digest)) return [];
      manifests.add(head.digest);
      if (manifests.size > mostManifests) {
        throw new CliFailure(
          `Pod "${registry.pod.id}" has more than ${mostManifests} manifests in "${name}", the last of them ${head.digest}; look at what refers to it there`,
        );
      }
      const next = [...(await childrenOf(head)), ...(await referrersOf(head.digest)).map(({ digest }) => digest)];
      const unseen = next.filter((digest) => !manifests.has(digest));
      const heads: (ManifestHead | null)[] = [];
      // An index may name manifests that the registry does not have. We leave these out.
      for (const digest of unseen) heads.push(await headManifest(registry, name, digest));
      return heads.flatMap((each) => each ?? []);
    },
    result: (tags: Snapshot["tags"]): Omit<Snapshot, "tags"> => {
      if (!lists.areThere()) {
        for (const digest of manifests) {
          const index = tags.get(fallbackTag(digest));
          const own = index === undefined ? undefined : children.get(index);
          // The index of the referrers may still name a referrer that a client has deleted. We leave out such a referrer.
          const left = own?.filter((each) => manifests.has(each)) ?? [];
          if (left.length > 0)
            referrers.set(
              digest,
              left.map((each) => ({ digest: each, descriptor: {} })),
            );
        }
      }
      return { manifests, children, referrers, listsReferrers: lists.areThere() };
    },
  };
}

/** Returns a hash that changes if anything in the snapshot changes. We save it in place of the snapshot, which may be large. */
export function fingerprintOf({ tags, manifests, referrers }: Snapshot): string {
  const hash = createHash("sha256");
  for (const [tag, digest] of [...tags].sort(byFirst)) hash.update(`${tag} ${digest}\n`);
  for (const digest of [...manifests].sort()) hash.update(`${digest}\n`);
  for (const [digest, own] of [...referrers].sort(byFirst)) {
    hash.update(`${digest} ${textOfReferrers(own)}\n`);
  }
  return hash.digest("hex");
}

/** Returns the digests of the referrers in a fixed order, so that two lists can be compared. */
export const textOfReferrers = (referrers: readonly Referrer[]): string =>
  referrers
    .map(({ digest }) => digest)
    .toSorted()
    .join(" ");

const byFirst = ([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number =>
  one < other ? -1 : one > other ? 1 : 0;
