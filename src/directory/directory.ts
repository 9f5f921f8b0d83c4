import { allowsPlainHttp, type PlainHttp } from "../lib/address.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { DirectoryFailure } from "../refusal.ts";
import { storeOrigin } from "../signers/index.ts";
import { isKeyId } from "./key-id.ts";
import { blocksKey, cellKey, directoryKey, podKey, tokenKeyKey } from "./keys.ts";
import type { ReadKv, ReadOptions } from "./kv.ts";
import { type Parsed, type ParsedRecords, parseOnce, readOnce } from "./parsed-records.ts";
import type { PodId } from "./pod-id.ts";
import {
  type DirectoryRecord,
  directoryRecord,
  ownerRecord,
  type PodRecord,
  parseRecord,
  podRecord,
} from "./records.ts";

/** A Pod's id and record. An isolate uses one object until the record changes, so weak maps can have parts of the object, such as stores, as keys. */
export type Pod = PodRecord & { readonly id: PodId };

/** `stale` is null for a current record. If an older record had to be used, `stale` says why KV did not answer. */
type FoundPod = { readonly pod: Pod | null; readonly stale: string | null };

export type Directory = {
  readonly readKv: ReadKv;
  /** The current time, which decides the phase of a move. */
  readonly now: () => Date;
  readonly parsedRecords: ParsedRecords;
  readonly pod: (id: PodId) => Promise<Result<Pod | null, DirectoryFailure>>;
  readonly findPod: (id: PodId, options: { mustBeCurrent?: boolean }) => Promise<Result<FoundPod, DirectoryFailure>>;
  readonly record: () => Promise<Result<DirectoryRecord, DirectoryFailure>>;
  /**
   * Finds the Pod whose id a token claims. An id that the directory does not list is looked up only at a bounded rate, so that forged tokens cost
   * little.
   */
  readonly claimedPod: (id: PodId) => Promise<Result<Pod | null, DirectoryFailure>>;
  /**
   * Finds the Pod whose token key has this `kid`. Null if the directory knows none. If the records of the Pods in the directory's list do not show
   * the key, KV is asked for it only at a bounded rate, so that forged tokens cost little.
   */
  readonly podOfKey: (kid: string) => Promise<Result<PodId | null, DirectoryFailure>>;
  readonly podOfCell: (cell: string) => Promise<Result<PodId | null, DirectoryFailure>>;
};

/** Parsed Pods by the keys of their records. An isolate keeps them, because parsing a record costs more than verifying a token. */
export type ParsedPods = Parsed<Pod>;

type DirectoryPorts = {
  readonly readKv: ReadKv;
  readonly now: () => Date;
  readonly plainHttp: PlainHttp;
  readonly parsedPods: ParsedPods;
  readonly parsedRecords: ParsedRecords;
};

/**
 * If the directory lists more Pods than this, their records are not searched for a token key. The edge then only looks up `key/<kid>` in KV. So a
 * stranger's request reads at most about 100 keys of KV: 50 for the records of Pods, and 20 for each long name. A mount has two such names.
 */
const maxScannedPods = 50;

export function createDirectory({ readKv, now, plainHttp, parsedPods, parsedRecords }: DirectoryPorts): Directory {
  const podNamedBy = async (key: string, options: ReadOptions): Promise<Result<PodId | null, DirectoryFailure>> => {
    const values = await readKv([key], options);
    if (!values.ok) return directoryFailure(values.error);
    const text = values.value.textOf(key);
    const found = text === null ? ok(null) : parseRecord(key, text, ownerRecord);
    return found.ok ? ok(found.value?.pod ?? null) : directoryFailure(found.error);
  };
  const findPod = async (id: PodId, options?: ReadOptions): Promise<Result<FoundPod, DirectoryFailure>> => {
    const values = await readKv([podKey(id)], options);
    if (!values.ok) return directoryFailure(values.error);
    const { textOf, stale } = values.value;
    const text = textOf(podKey(id));
    const pod = text === null ? ok(null) : readPod(id, text, { plainHttp, parsedPods });
    return pod.ok ? ok({ pod: pod.value, stale }) : pod;
  };
  const pod = async (id: PodId, options?: ReadOptions) => {
    const found = await findPod(id, options);
    return found.ok ? ok(found.value.pod) : found;
  };
  const record = async (): Promise<Result<DirectoryRecord, DirectoryFailure>> => {
    // Every request for a repository needs the directory record and the blocks, so we read both in one bulk read.
    const values = await readKv([directoryKey, blocksKey]);
    if (!values.ok) return directoryFailure(values.error);
    const stored = { text: values.value.textOf(directoryKey), schema: directoryRecord };
    const found = parseOnce(parsedRecords.directory, directoryKey, stored);
    return found.ok ? ok(found.value ?? { v: 1, revision: 0, credentials: "own" }) : found;
  };
  /**
   * Returns the listed Pod that has this token key. Only records whose text contains the `kid` are parsed, because parsing all records takes long.
   */
  const holderOf = async (kid: string, listed: readonly PodId[]): Promise<PodId | null> => {
    if (listed.length > maxScannedPods) return null;
    const values = await readKv(listed.map(podKey));
    if (!values.ok) return null;
    for (const id of listed.filter((each) => values.value.textOf(podKey(each))?.includes(kid))) {
      const found = await pod(id);
      if (found.ok && found.value?.keys.some((key) => key.kid === kid)) return id;
    }
    return null;
  };
  return {
    readKv,
    now,
    parsedRecords,
    pod: (id) => pod(id),
    findPod: (id, { mustBeCurrent = false }) => findPod(id, { mustBeCurrent }),
    claimedPod: async (id) => {
      const listed = await record();
      if (!listed.ok) return listed;
      return pod(id, { chosenBy: listed.value.pods?.includes(id) ? "directory" : "claim" });
    },
    record,
    podOfKey: async (kid) => {
      if (!isKeyId(kid)) return ok(null);
      const listed = await record();
      if (!listed.ok) return listed;
      const holder = await holderOf(kid, listed.value.pods ?? []);
      return holder === null ? podNamedBy(tokenKeyKey(kid), { chosenBy: "claim" }) : ok(holder);
    },
    podOfCell: (cell) => podNamedBy(cellKey(cell), { chosenBy: "cell" }),
  };
}

/** Returns the Pod for all names that have no assigned prefix. Null if the directory names no default Pod. */
export async function defaultPod(directory: Directory): Promise<Result<Pod | null, DirectoryFailure>> {
  const record = await directory.record();
  if (!record.ok) return record;
  return record.value.default === undefined ? ok(null) : directory.pod(record.value.default);
}

/**
 * Returns every Pod that the directory lists. Fails if a listed Pod has no record, because a catalog without that Pod's names would look complete.
 */
export async function allPods(directory: Directory): Promise<Result<readonly Pod[], DirectoryFailure>> {
  const record = await directory.record();
  if (!record.ok) return record;
  const { pods: ids = [] } = record.value;
  const found = await Promise.all(ids.map((id) => directory.pod(id)));
  const pods: Pod[] = [];
  for (const [index, pod] of found.entries()) {
    if (!pod.ok) return pod;
    if (pod.value === null) return directoryFailure(`the directory lists Pod "${ids[index]}", which has no record`);
    pods.push(pod.value);
  }
  return ok(pods);
}

/**
 * Returns the other Pods that use this Pod's registry. Such a registry accepts the tokens of all these Pods, and cannot tell which Pod's token
 * service issued a token.
 */
export const othersOfRegistry = (record: DirectoryRecord | null, id: PodId): readonly PodId[] =>
  (record?.sharedRegistries ?? []).flatMap((pods) => (pods.includes(id) ? pods.filter((other) => other !== id) : []));

/**
 * Whether this Pod is certainly the only one of its registry. If the directory record does not list the Pod, this is not certain. Such a record was
 * written by hand, and its `sharedRegistries` may lack the Pod as well.
 */
export const isOnlyOfRegistry = (record: DirectoryRecord, id: PodId): boolean =>
  record.pods?.includes(id) === true && othersOfRegistry(record, id).length === 0;

export const directoryFailure = (text: string): Result<never, DirectoryFailure> => err({ reason: "directory", text });

const readPod = (
  id: PodId,
  text: string,
  { plainHttp, parsedPods }: Pick<DirectoryPorts, "plainHttp" | "parsedPods">,
): Result<Pod, DirectoryFailure> =>
  readOnce(parsedPods, podKey(id), { text, parse: (stored) => parsePod(id, stored, plainHttp) });

function parsePod(id: PodId, text: string, plainHttp: PlainHttp): Result<Pod, string> {
  const record = parseRecord(podKey(id), text, podRecord);
  if (!record.ok) return record;
  const { registry, token, gateway, blobs } = record.value;
  const gateways = gateway ? [gateway.url] : [];
  const urls = [registry, token, ...gateways, ...blobs.stores.flatMap((store) => storeOrigin(store) ?? [])];
  const isAllowed = ({ protocol, hostname }: URL) => protocol === "https:" || allowsPlainHttp(plainHttp, hostname);
  return urls.every((url) => isAllowed(new URL(url)))
    ? ok({ ...record.value, id })
    : err(`record "${podKey(id)}" has a URL that is not https`);
}
