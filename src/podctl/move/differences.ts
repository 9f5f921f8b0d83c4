/** Compares a repository at the source with its copy at the target, and says what to copy and what to remove. Pure. */
import type { Digest } from "../../oci/digest.ts";
import type { Tag } from "../../oci/reference.ts";
import type { Referrer } from "./lists.ts";
import { fallbackTag, type Snapshot, textOfReferrers } from "./snapshot.ts";

export type Work = {
  /** Manifests to copy, with or without a tag. */
  readonly manifests: readonly Digest[];
  /** Tags to write at the target. */
  readonly tags: readonly (readonly [tag: Tag, digest: Digest])[];
  /** Tags to remove from the target. */
  readonly gone: readonly Tag[];
  /**
   * Manifests of the target that no tag, index or referrer of the source leads to. The source may still have such a manifest, without a tag. So a
   * move removes it only if the source has deleted it.
   */
  readonly dead: readonly Digest[];
  /** Manifests whose referrers need a tag at the target, because the source lists referrers (OCI end-12) and the target does not. */
  readonly fallbacks: readonly Digest[];
};

export function workOf(source: Snapshot, target: Snapshot): Work {
  const made = madeTags(source, target);
  const madeDigests = new Set([...made].map((tag) => target.tags.get(tag)));
  return {
    manifests: [...source.manifests].filter((digest) => !target.manifests.has(digest)),
    tags: [...source.tags].filter(([tag, digest]) => target.tags.get(tag) !== digest && !made.has(tag)),
    gone: [...target.tags.keys()].filter((tag) => !source.tags.has(tag) && !made.has(tag)),
    dead: [...target.manifests].filter((digest) => !source.manifests.has(digest) && !madeDigests.has(digest)),
    fallbacks: made.size === 0 ? [] : [...source.referrers.keys()],
  };
}

/**
 * Returns the tags ({@link fallbackTag}) under which the move keeps referrers, because the target's registry does not list referrers. These tags are
 * neither copied, removed nor reported. If the source has such a tag from an earlier move, the tag is outdated: clients do not update it if the
 * registry lists referrers.
 */
function madeTags(source: Snapshot, target: Snapshot): ReadonlySet<Tag> {
  if (!source.listsReferrers || target.listsReferrers) return new Set();
  return new Set([...source.referrers.keys()].map(fallbackTag));
}

/** How many changes this work makes. After a round with few changes, the move goes on from `copy` to `freeze`. */
export const sizeOf = ({ manifests, tags, gone }: Work): number => manifests.length + tags.length + gone.length;

/** Returns one line for each difference. `from` and `to` are the ids of both Pods. */
export function differencesOf(
  name: string,
  [source, from]: readonly [Snapshot, string],
  [target, to]: readonly [Snapshot, string],
): readonly string[] {
  const made = madeTags(source, target);
  const outdated = new Set([...made].map((tag) => source.tags.get(tag)));
  const tags = new Set([...source.tags.keys(), ...target.tags.keys()]);
  // If only the target lists referrers, its list has each manifest with a `subject`. At the source, clients keep an index of the referrers, which may
  // lack such a manifest.
  const mayListMore = target.listsReferrers && !source.listsReferrers;
  const say = (digest: Digest | undefined) => digest ?? "nothing";
  return [
    ...[...tags]
      .filter((tag) => source.tags.get(tag) !== target.tags.get(tag) && !made.has(tag))
      .sort()
      .map(
        (tag) => `${name}:${tag} is ${say(source.tags.get(tag))} at ${from} and ${say(target.tags.get(tag))} at ${to}`,
      ),
    ...[...source.manifests]
      .filter((digest) => !target.manifests.has(digest) && !outdated.has(digest))
      .map((digest) => `${name}@${digest} is at ${from} and not at ${to}`),
    ...[...new Set([...source.referrers.keys(), ...target.referrers.keys()])].flatMap((digest) => {
      const own = source.referrers.get(digest) ?? [];
      const listed = target.referrers.get(digest) ?? [];
      const [one, other] = [own, mayListMore ? onlyThose(listed, own) : listed].map(textOfReferrers);
      return one === other
        ? []
        : [`the referrers of ${name}@${digest} are ${one || "none"} at ${from} and ${other || "none"} at ${to}`];
    }),
  ];
}

function onlyThose(referrers: readonly Referrer[], wanted: readonly Referrer[]): readonly Referrer[] {
  const digests = new Set(wanted.map(({ digest }) => digest));
  return referrers.filter(({ digest }) => digests.has(digest));
}
