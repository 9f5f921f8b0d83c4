import * as v from "valibot";
import { isOrigin } from "../lib/address.ts";
import { isoTime } from "../lib/iso-time.ts";
import { isObject, isTexts, parseJson } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { wrongAt } from "../lib/wrong-at.ts";
import { parseDigest } from "../oci/digest.ts";
import { MAX_PREFIX_COMPONENTS, parseRepositoryName } from "../oci/repository-name.ts";
import { storeSchema } from "../signers/index.ts";
import { aliases } from "./aliases.ts";
import { groupSettings } from "./group-settings.ts";
import { parsePodId } from "./pod-id.ts";

/** Accepts a text that `parse` accepts, and returns it with the parsed type. `wanted` completes "want …" in a message. */
const parsedBy = <T extends string>(parse: (text: string) => Result<T, string>, wanted: string) =>
  v.pipe(
    v.string(),
    v.check((text) => parse(text).ok, wanted),
    v.transform((text) => text as T),
  );

const podId = parsedBy(parsePodId, "a Pod id");
const revision = v.pipe(v.number(), v.integer(), v.minValue(0));
const origin = v.pipe(v.string(), v.url(), v.check(isOrigin, "an origin: scheme, host and port, no path"));

/** A token service's public key, which the service's tokens name by its `kid`. */
const publicKey = v.pipe(
  v.looseObject({
    kty: v.picklist(["RSA", "EC", "OKP"]),
    kid: v.pipe(v.string(), v.nonEmpty(), v.maxLength(256)),
    alg: v.picklist(["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"]),
  }),
  v.check((jwk) => !("d" in jwk) && !("k" in jwk), "a public key, without private members"),
);

const blobs = v.strictObject({
  /** Hosts (with port) that a Pod's own redirect of a blob may point at. The hosts of its stores count, too. */
  hosts: v.optional(v.array(v.pipe(v.string(), v.nonEmpty())), []),
  /**
   * How the edge proves that a repository has a blob. `head`: it asks the Pod for the blob. `manifest`: a manifest of the repository that names the
   * blob is a proof too. This Pod's registry refuses a manifest whose blobs are not in the repository.
   */
  proof: v.optional(v.picklist(["head", "manifest"]), "head"),
  /** How long the edge trusts a proof without asking the Pod again; with 0 it asks each time. */
  proofTtlSeconds: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(3600)), 900),
  stores: v.optional(v.array(storeSchema), []),
});

/** The limit is below a day, because the edge remembers deletions and refusals for a day. With a longer time it could serve what was deleted. */
const outageSeconds = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(82_800));

const outage = v.strictObject({
  /** While the registry fails, the edge answers pulls from its caches for this long. With 0 it never does, and the pulls fail. */
  staleSeconds: v.optional(outageSeconds, 3600),
  /** While the token service fails, the edge repeats the service's grants of pulls, if they are not older than this. With 0 it never does. */
  graceSeconds: v.optional(outageSeconds, 0),
});

const sealed = v.pipe(v.string(), v.nonEmpty());

/**
 * How a Pod knows that a request comes from the edge. `header`: by a header with a secret value. `access`: by a service token of Cloudflare Access.
 * `binding`: the edge calls the Pod through a binding of the Worker. The binding is for an mTLS certificate, a private network or another Worker.
 */
const trust = v.variant("kind", [
  v.strictObject({
    kind: v.literal("header"),
    // The pattern refuses names of headers that clients, registries or proxies use.
    name: v.pipe(v.string(), v.regex(/^x-(?!forwarded-|real-ip$)[a-z0-9-]{1,60}$/i)),
    value: sealed,
  }),
  v.strictObject({
    kind: v.literal("access"),
    clientId: v.pipe(v.string(), v.regex(/^[!-~]+$/)),
    clientSecret: sealed,
  }),
  v.strictObject({ kind: v.literal("binding"), binding: v.pipe(v.string(), v.regex(/^[A-Z][A-Z0-9_]*$/)) }),
]);

/** The program next to the registry that takes uploads above the CDN's limit for a body. Null or missing if the Pod has no gateway. */
const gateway = v.nullish(
  v.strictObject({
    url: origin,
    key: sealed,
    /**
     * Who runs the gateway and owns its host name: the Pod's operator (`pod`) or the edge's operator (`fleet`). Some clients send their token or
     * password to any host to which an upload leads, so these clients get only a gateway of `fleet`.
     */
    operator: v.optional(v.picklist(["pod", "fleet"]), "pod"),
  }),
);

export const podFields = {
  registry: origin,
  token: v.pipe(v.string(), v.url()),
  issuer: v.pipe(v.string(), v.nonEmpty()),
  audience: v.pipe(v.string(), v.nonEmpty()),
  keys: v.pipe(v.array(publicKey), v.maxLength(10)),
  trust: v.optional(trust),
  gateway,
  blobs: v.optional(blobs, {}),
  outage: v.optional(outage, {}),
  probe: v.optional(
    v.strictObject({
      repository: parsedBy(parseRepositoryName, "a repository name: lower-case components separated by single slashes"),
      digest: parsedBy(parseDigest, "a digest: sha256: and 64 lower-case hex digits"),
    }),
  ),
};

const version = v.literal(1);

export const podRecord = v.strictObject({
  v: version,
  revision,
  state: v.picklist(["active", "read-only", "down"]),
  /** The text for a client whose write is refused, or whose Pod is unavailable. */
  reason: v.optional(v.string()),
  ...podFields,
});

/** How a group is moved to another Pod. docs/moves.md says what each phase means, and `servedBy` says which Pod serves the group. */
const move = v.strictObject({
  to: podId,
  phase: v.picklist(["copy", "freeze", "settle"]),
  /** When the phase begins. Before this time, the phase is only announced. */
  since: isoTime,
  /** Only in a move back: when the phase `settle` began at the Pod that the group now leaves. */
  settledSince: v.optional(isoTime),
});
const assigned = { v: version, pod: podId, revision, move: v.optional(move), ...groupSettings };
/** Which Pod a group belongs to, and the group's own settings. If several assignments fit a name, the one with the longest prefix applies. */
export const assignmentRecord = v.variant("state", [
  v.strictObject({ ...assigned, state: v.literal("active") }),
  v.strictObject({ ...assigned, state: v.literal("read-only"), reason: v.optional(v.string()) }),
]);
export const directoryRecord = v.strictObject({
  v: version,
  /** The largest number of components of an assigned prefix; longer prefixes are not looked up. */
  depth: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_PREFIX_COMPONENTS))),
  /** Every Pod. A request for the catalog asks all of them, and a bundle may name any of them. */
  pods: v.optional(v.array(podId)),
  default: v.optional(podId),
  credentials: v.optional(v.picklist(["own", "shared"]), "own"),
  aliases: v.optional(aliases),
  /**
   * Each list names the Pods that share one registry. For such a Pod, the edge refuses a token with an unknown key. Another Pod of the list may have
   * signed it, and the registry would accept it.
   */
  sharedRegistries: v.optional(v.array(v.array(podId))),
  revision,
  appliedAt: v.optional(isoTime),
  appliedBy: v.optional(v.string()),
});
/** The Pod to which a token key or a GitLab cell belongs. */
export const ownerRecord = v.strictObject({ v: version, pod: podId });

/** The limit exists because the Worker holds all blocks in memory. */
export const maxBlocks = 10_000;

/**
 * Every blocked prefix and digest, with the text that clients get. We do not use `v.record`, because it would leave out a prefix such as
 * "constructor".
 */
export const blocksRecord = v.strictObject({
  v: version,
  revision,
  blocks: v.pipe(
    v.unknown(),
    v.check(isTexts, "texts by prefix or digest"),
    v.transform((texts): ReadonlyMap<string, string> => new Map(Object.entries(texts as object))),
    v.check((texts) => texts.size <= maxBlocks, `at most ${maxBlocks} entries`),
  ),
});

const verdict = {
  pod: podId,
  /** The store's host and path. We do not name the store by its index, because an index changes with the list of stores. */
  place: v.pipe(v.string(), v.nonEmpty()),
  since: isoTime,
};
const storeVerdict = v.variant("state", [
  v.strictObject({ ...verdict, state: v.literal("in") }),
  v.strictObject({ ...verdict, state: v.literal("out"), why: v.string() }),
]);

export const verdictName = (pod: string, place: string): string => `${pod} ${place}`;

/**
 * What the Worker's own checks say about the stores of Pods that have several stores. A store that has never answered its checks is not in the
 * record.
 */
export const healthRecord = v.strictObject({
  v: version,
  stores: v.pipe(
    v.array(storeVerdict),
    v.transform(
      (stores): ReadonlyMap<string, StoreVerdict> =>
        new Map(stores.map((each) => [verdictName(each.pod, each.place), each])),
    ),
  ),
});

export type StoreVerdict = v.InferOutput<typeof storeVerdict>;
export type HealthRecord = v.InferOutput<typeof healthRecord>;
export type PodRecord = v.InferOutput<typeof podRecord>;
export type GatewayOperator = NonNullable<PodRecord["gateway"]>["operator"];
export type AssignmentRecord = v.InferOutput<typeof assignmentRecord>;
export type BlocksRecord = v.InferOutput<typeof blocksRecord>;
export type DirectoryRecord = v.InferOutput<typeof directoryRecord>;
export type PublicKey = v.InferOutput<typeof publicKey>;

/** Parses a KV value. The error names the key and the member, but never the value, because the value may contain a sealed secret. */
export function parseRecord<T>(key: string, text: string, schema: v.GenericSchema<unknown, T>): Result<T, string> {
  const json = parseJson(text);
  if (json === undefined) return err(`record "${key}" is not JSON`);
  const parsed = v.safeParse(schema, json);
  if (parsed.success) return ok(parsed.output);
  const newer = whyNewer(key, json);
  if (newer !== null) return err(newer);
  const issue = parsed.issues[0];
  return err(`record "${key}" ${wrongAt(v.getDotPath(issue), issue)}`);
}

/** The end of the text about a record that a newer podctl has written. */
export const useNewer = "use the newer podctl";

export function whyNewer(key: string, json: unknown): string | null {
  if (!isObject(json) || !("v" in json) || typeof json.v !== "number" || json.v <= version.literal) return null;
  return `record "${key}" has "v": ${json.v}, so a newer podctl has written it, and this version cannot read it; ${useNewer}`;
}
