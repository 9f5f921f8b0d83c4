import pMap from "p-map";
import type { Digest } from "../../oci/digest.ts";
import type { Reference, Tag } from "../../oci/reference.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import { type CopyWays, copyBlob, nameOf } from "./copy-blob.ts";
import type { Limit, Turns } from "./limit.ts";
import { digestOf, indexType, type ManifestParts, type NamedBlob } from "./manifest-parts.ts";
import { textOf } from "./registry.ts";
import { pushScope } from "./scopes.ts";
import { fallbackTag, getManifest, headManifest, type Manifest, type Snapshot } from "./snapshot.ts";

export type Copied = {
  manifests: number;
  tags: number;
  blobs: number;
  mounted: number;
  bytes: number;
  /** How many of the bytes went from Pod to Pod, and not through podctl. */
  bytesByGateway: number;
  removed: number;
};

export const nothingCopied = (): Copied => ({
  manifests: 0,
  tags: 0,
  blobs: 0,
  mounted: 0,
  bytes: 0,
  bytesByGateway: 0,
  removed: 0,
});

export type CopyPorts = CopyWays & {
  readonly jobs: number;
  readonly copied: Copied;
  /** For each blob, a repository of the target that has the blob, so that the registry can mount it from there. */
  readonly homes: Map<Digest, RepositoryName>;
  /**
   * Repositories in which this run has looked for blobs that the target lacks, although it has their manifest. We look only once in each repository,
   * because this takes a request for each manifest and blob.
   */
  readonly looked: Set<RepositoryName>;
  /** Runs at most `jobs` copies of blobs at once, in all repositories together. */
  readonly limit: Limit;
  /**
   * Copies blobs of the same digest one after the other. Many images share a base, so the later copies find it at the target already. The gateway
   * also refuses to copy a blob twice at once.
   */
  readonly turns: Turns<Digest>;
  /** Reports something that cannot be copied, and lets the copy go on. */
  readonly complain: (problem: string) => void;
};

/** `homes` has a repository for at most this many blobs. At some 200 bytes each, they take at most 100 MB. */
const maxHomes = 500_000;

/** How deep indexes may be nested. Real ones are two or three levels deep. */
const mostLevels = 16;

type Place = CopyPorts & { readonly name: RepositoryName };

type ManifestCopy = {
  /**
   * Copies a manifest with its children and blobs, or only missing blobs if the target has the manifest. Returns whether the target has the manifest
   * afterwards.
   */
  readonly manifest: (digest: Digest) => Promise<boolean>;
  /** Writes tags of a manifest, and copies the manifest if the target does not have it. */
  readonly tags: (digest: Digest, tags: readonly Tag[]) => Promise<void>;
  /** Writes an index of the manifest's referrers under a tag, because the target's registry has no list of referrers. */
  readonly referrers: (digest: Digest, from: Snapshot) => Promise<void>;
  readonly isWhole: () => boolean;
};

/** `before` is what the target held before the copy. */
export function createManifestCopy(place: Place, before: Snapshot): ManifestCopy {
  const { name, target, copied } = place;
  const done = new Map<Digest, Promise<boolean>>();
  let isWhole = true;
  const parts = async ({ blobs, children }: ManifestParts, namedBy: Reference, level: number): Promise<boolean> => {
    // An index may name manifests that the source does not have, so we copy the index even if one of its manifests is missing.
    for (const child of children) await manifest(child, level + 1);
    const copies = await pMap(blobs, (blob) => copyNamedBlob(place, blob, namedBy), { concurrency: place.jobs });
    return copies.every((isThere) => isThere);
  };
  const copyOne = async (digest: Digest, level: number): Promise<boolean> => {
    if (before.manifests.has(digest) || (await headManifest(target, name, digest)) !== null) {
      await copyMissingBlobs(place, digest);
      return true;
    }
    const read = await readParts(place, digest);
    const isReady = read !== null && (await parts(read.parts, digest, level));
    const found = isReady ? (read.manifest ?? (await readManifest(place, digest))) : null;
    const isCopied = found !== null && (await putManifest(place, found, digest));
    isWhole &&= isCopied;
    return isCopied;
  };
  const manifest = (digest: Digest, level: number): Promise<boolean> => {
    if (level > mostLevels) {
      place.complain(`${name}@${digest} is the manifest of an index below ${mostLevels} other indexes`);
      return Promise.resolve(false);
    }
    const copying = done.get(digest) ?? copyOne(digest, level);
    done.set(digest, copying);
    return copying;
  };
  const tags = async (digest: Digest, names: readonly Tag[]): Promise<void> => {
    const isThere = before.manifests.has(digest);
    const found = await readManifest(place, digest);
    const isReady =
      found !== null && (await (isThere ? manifest(digest, 0) : parts(found.parts, names[0] ?? digest, 0)));
    isWhole &&= isReady;
    if (found === null || !isReady) return;
    // `putManifest` counts a PUT by tag only as a tag. Here the PUT of the first tag also brings the manifest to the target, so we count the
    // manifest.
    if (!isThere) copied.manifests += 1;
    for (const tag of names) isWhole = (await putManifest(place, found, tag)) && isWhole;
  };
  const referrers = async (digest: Digest, from: Snapshot): Promise<void> => {
    const tag = fallbackTag(digest);
    const bytes = referrersIndex((from.referrers.get(digest) ?? []).map(({ descriptor }) => descriptor));
    if (before.tags.get(tag) !== digestOf(bytes)) await putManifest(place, { bytes, type: indexType }, tag);
  };
  return { manifest: (digest) => manifest(digest, 0), tags, referrers, isWhole: () => isWhole };
}

/** Reads a manifest from the source. Null if the source does not have it any more, or gives bytes that have another digest. */
async function readManifest({ source, name, complain }: Place, digest: Digest): Promise<Manifest | null> {
  const found = await getManifest(source, name, digest);
  if (found === null || found.digest === digest) return found;
  complain(`${name}@${digest} has the digest ${found.digest} at Pod "${source.pod.id}", so it was not copied`);
  return null;
}

/**
 * The manifests of an index are copied before the index itself. Until then, we do not keep the bytes of the index. A pusher could nest many indexes
 * of 4 MiB, which would all be in memory at once.
 */
async function readParts(place: Place, digest: Digest) {
  const found = await readManifest(place, digest);
  if (found === null) return null;
  return { parts: found.parts, manifest: found.parts.children.length === 0 ? found : null };
}

async function putManifest(
  { target, name, copied, complain }: Place,
  { bytes, type }: Pick<Manifest, "bytes" | "type">,
  reference: Reference,
): Promise<boolean> {
  const path = `/v2/${name}/manifests/${reference}`;
  const headers = { "Content-Type": type };
  const answer = await target.ask({ method: "PUT", path, scopes: [pushScope(name)], headers, body: bytes });
  if (answer.status === 201) {
    if (reference.includes(":")) copied.manifests += 1;
    else copied.tags += 1;
    return true;
  }
  complain(`Pod "${target.pod.id}" answers ${answer.status} to "${name}:${reference}": ${textOf(answer.bytes)}`);
  return false;
}

/**
 * Copies a manifest's blobs that the target lacks, although it has the manifest. If a client deletes a blob during `settle`, the edge deletes it at
 * both Pods. A later push may bring the blob back to only one of them. A blob that both lack is not reported, because the move did not lose it.
 */
async function copyMissingBlobs(place: Place, digest: Digest): Promise<void> {
  const quiet = { ...place, complain: () => {} };
  const blobs = (await readManifest(quiet, digest))?.parts.blobs ?? [];
  await pMap(
    blobs.filter((blob) => place.homes.get(blob.digest) !== place.name),
    (blob) => copyNamedBlob(quiet, blob, digest),
    { concurrency: place.jobs },
  );
}

/** Copies a blob that a manifest names. Returns false if the source does not have the blob and clients cannot get it from elsewhere. */
function copyNamedBlob(place: Place, blob: NamedBlob, namedBy: Reference): Promise<boolean> {
  const { source, name, homes, copied, limit, turns, complain } = place;
  const copy = async () => {
    const how = await copyBlob(place, name, { blob, home: homes.get(blob.digest) ?? null, namedBy });
    if (how === "missing") {
      if (!blob.elsewhere)
        complain(`${nameOf(name, namedBy)} names ${blob.digest}, which Pod "${source.pod.id}" does not have`);
      return blob.elsewhere;
    }
    if (homes.size < maxHomes) homes.set(blob.digest, name);
    if (how === "mounted") copied.mounted += 1;
    if (how === "copied" || how === "by gateway") {
      copied.blobs += 1;
      copied.bytes += blob.bytes;
    }
    if (how === "by gateway") copied.bytesByGateway += blob.bytes;
    return true;
  };
  return turns(blob.digest, () => limit(copy));
}

/** The referrers are sorted, so that equal lists have an equal digest. */
function referrersIndex(descriptors: readonly object[]): Uint8Array {
  const sorted = descriptors.map((each) => JSON.stringify(each)).toSorted();
  return Buffer.from(`{"schemaVersion":2,"mediaType":"${indexType}","manifests":[${sorted.join(",")}]}`);
}
