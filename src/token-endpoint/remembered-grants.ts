import * as v from "valibot";
import type { Pod } from "../directory/directory.ts";
import { hex, utf8 } from "../lib/bytes.ts";
import { deriveHmacKey, type EdgeKeys } from "../lib/derive-key.ts";
import { type LocationCache, readCached } from "../net/location-cache.ts";
import { deletedAtMs, writeTombstone } from "../net/tombstones.ts";
import type { Credentials } from "./credentials.ts";

/** Who asked which Pod. */
export type Asker = { readonly pod: Pod; readonly credentials: Credentials };

/**
 * Which pulls the token services have granted to whom, for as long as each Pod's `graceSeconds`. It is in the location's cache under an HMAC of Pod,
 * credentials and repository, so neither can be read from it, and whoever lacks the credentials finds nothing.
 */
export type RememberedGrants = {
  /** The repositories that are remembered, each with the time at which its grant was asked for, in milliseconds. */
  find(asker: Asker, repositories: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** The token service granted it when it was asked at `askedAt`. */
  remember(asker: Asker, repositories: readonly string[], askedAt: Date): Promise<void>;
  /** The token service just refused it. What was asked for before that no longer counts, even if it is remembered later. */
  forget(asker: Asker, repositories: readonly string[]): Promise<void>;
  /** The token service just refused these credentials, whatever they are for. */
  forgetAll(asker: Asker): Promise<void>;
};

type Ports = {
  readonly cache: LocationCache;
  readonly edgeKeys: EdgeKeys;
  readonly clock: () => Date;
};

const keyLabel = "remembered-grant";
const schema = v.strictObject({ atMs: v.number() });

export function createRememberedGrants({ cache, edgeKeys, clock }: Ports): RememberedGrants {
  /** While an edge key is being replaced, grants of both keys are in use. */
  const hashers = () => Promise.all(edgeKeys.map(createHasher));
  const findBy = async (pathOf: Hasher, asker: Asker, repositories: readonly string[]) => {
    const allRefused = deletedAtMs(cache, await pathOf(asker, null));
    const found = repositories.map(async (repository) => {
      const path = await pathOf(asker, repository);
      const granted = readCached(cache, path, schema);
      const refusals = await Promise.all([allRefused, deletedAtMs(cache, path)]);
      const at = await granted;
      // What cannot be read may have been refused.
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
      const [pathOf] = await hashers();
      if (pathOf === undefined) return;
      const put = async (repository: string) =>
        cache.put(
          await pathOf(asker, repository),
          Response.json({ atMs: askedAt.getTime() }),
          asker.pod.outage.graceSeconds,
        );
      await Promise.all(repositories.map(put));
    },
    forget: async (asker, repositories) => {
      const atMs = clock().getTime();
      const forget = async (pathOf: Hasher, repository: string) => {
        const path = await pathOf(asker, repository);
        // It is overwritten, and not only outlived, because the cache may lose the tombstone first.
        await Promise.all([writeTombstone(cache, path, atMs), cache.put(path, Response.json({ atMs: 0 }), 1)]);
      };
      const all = (await hashers()).flatMap((pathOf) => repositories.map((repository) => forget(pathOf, repository)));
      await Promise.all(all);
    },
    forgetAll: async (asker) => {
      const atMs = clock().getTime();
      const forget = async (pathOf: Hasher) => writeTombstone(cache, await pathOf(asker, null), atMs);
      await Promise.all((await hashers()).map(forget));
    },
  };
}

/** The path of one grant in the cache, or of all that these credentials were granted. */
type Hasher = (asker: Asker, repository: string | null) => Promise<string>;

/** JSON tells each field from the next one, whatever is in it. Another token service of the Pod has granted nothing yet. */
async function createHasher(edgeKey: EdgeKeys[number]): Promise<Hasher> {
  const key = await deriveHmacKey(edgeKey, keyLabel);
  return async ({ pod, credentials }, repository) => {
    const fields = utf8(JSON.stringify([pod.id, pod.token, credentials, repository]));
    return `grant/${hex(await crypto.subtle.sign("HMAC", key, fields))}`;
  };
}
