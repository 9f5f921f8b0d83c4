import * as v from "valibot";
import type { Pod } from "../directory/directory.ts";
import { hex, utf8 } from "../lib/bytes.ts";
import { deriveHmacKey, type EdgeKeys } from "../lib/derive-key.ts";
import { type LocationPorts, readCached } from "../net/location-cache.ts";
import { deletedAtMs, writeTombstone } from "../net/tombstones.ts";
import type { Credentials } from "./credentials.ts";

export type Asker = { readonly pod: Pod; readonly credentials: Credentials };

/**
 * Remembers which pulls the token services have granted to whom, for each Pod's `graceSeconds`. A grant is in the location's cache under an HMAC of
 * Pod, credentials and repository, so that the cache reveals none of the three.
 */
export type RememberedGrants = {
  /** Returns the repositories that are remembered, each with the time at which its grant was asked for, in milliseconds. */
  find(asker: Asker, repositories: readonly string[]): Promise<ReadonlyMap<string, number>>;
  remember(asker: Asker, repositories: readonly string[], askedAt: Date): Promise<void>;
  /**
   * Records that the token service just refused these pulls. Grants that were asked for before this refusal no longer count, even if they are
   * recorded later.
   */
  forget(asker: Asker, repositories: readonly string[]): Promise<void>;
  /** Records that the token service just refused these credentials. No earlier grant for them counts any longer, whatever the repository. */
  forgetAll(asker: Asker): Promise<void>;
};

type Ports = Pick<LocationPorts, "cache" | "clock"> & { readonly edgeKeys: EdgeKeys };

const keyLabel = "remembered-grant";
const schema = v.strictObject({ atMs: v.number() });
/** The cache keeps a grant for longer than most records let it count. So an operator may raise `graceSeconds` during an outage. */
const keepSeconds = 24 * 3600;

export function createRememberedGrants({ cache, edgeKeys, clock }: Ports): RememberedGrants {
  /** While an edge key is being replaced, there are two keys, and some remembered grants are under the older one. */
  const hashers = () => Promise.all(edgeKeys.map(createHasher));
  const findBy = async (pathOf: Hasher, asker: Asker, repositories: readonly string[]) => {
    const allRefused = deletedAtMs(cache, await pathOf(asker, null));
    const found = repositories.map(async (repository) => {
      const path = await pathOf(asker, repository);
      const granted = readCached(cache, path, schema);
      const refusals = await Promise.all([allRefused, deletedAtMs(cache, path)]);
      const at = await granted;
      // If a tombstone cannot be read, the pull may have been refused after the grant. So we do not use the grant.
      if (at === null || at === "unreadable" || refusals.includes("unreadable")) return [];
      return refusals.every((refusedAtMs) => at.atMs > Number(refusedAtMs)) ? [[repository, at.atMs] as const] : [];
    });
    return (await Promise.all(found)).flat();
  };
  return {
    find: async (asker, repositories) => {
      const all = await Promise.all((await hashers()).map((pathOf) => findBy(pathOf, asker, repositories)));
      const endMs = clock().getTime() - asker.pod.outage.graceSeconds * 1000;
      const living = all.flat().filter(([, atMs]) => atMs > endMs);
      return new Map(living.sort(([, one], [, other]) => one - other));
    },
    remember: async (asker, repositories, askedAt) => {
      if (repositories.length === 0) return;
      const [pathOf] = await hashers();
      if (pathOf === undefined) return;
      const put = async (repository: string) =>
        cache.put(await pathOf(asker, repository), Response.json({ atMs: askedAt.getTime() }), keepSeconds);
      await Promise.all(repositories.map(put));
    },
    forget: async (asker, repositories) => {
      // A stranger's request for the catalogs of eight Pods names no repository. So we do not derive the keys (`hashers`), because that takes long.
      if (repositories.length === 0) return;
      const atMs = clock().getTime();
      const isStranger = asker.credentials[0] === "anonymous";
      const forget = async (pathOf: Hasher, repository: string) => {
        const path = await pathOf(asker, repository);
        // A stranger can ask for endless names, and each refusal that we keep is a write to the cache. So we keep a stranger's refusal only if the
        // cache has the grant that this refusal ends, or if the cache cannot be read.
        if (isStranger && (await readCached(cache, path, schema)) === null) return;
        // The cache may lose the tombstone before the grant. So we also overwrite the grant.
        await Promise.all([writeTombstone(cache, path, { atMs }), cache.put(path, Response.json({ atMs: 0 }), 1)]);
      };
      const all = (await hashers()).flatMap((pathOf) => repositories.map((repository) => forget(pathOf, repository)));
      await Promise.all(all);
    },
    forgetAll: async (asker) => {
      const atMs = clock().getTime();
      const forget = async (pathOf: Hasher) => writeTombstone(cache, await pathOf(asker, null), { atMs });
      await Promise.all((await hashers()).map(forget));
    },
  };
}

/** Returns the cache's path of one grant. With a null repository, the path is for all grants of these credentials. */
type Hasher = (asker: Asker, repository: string | null) => Promise<string>;

/**
 * The fields are hashed as JSON, so two different lists of fields never have the same text. One field is the token service's URL, so a Pod with a new
 * token service has none of its old grants.
 */
async function createHasher(edgeKey: EdgeKeys[number]): Promise<Hasher> {
  const key = await deriveHmacKey(edgeKey, keyLabel);
  return async ({ pod, credentials }, repository) => {
    const fields = utf8(JSON.stringify([pod.id, pod.token, credentials, repository]));
    return `grant/${hex(await crypto.subtle.sign("HMAC", key, fields))}`;
  };
}
