import type * as v from "valibot";
import { BoundedMap } from "../lib/bounded-map.ts";
import { allowsPlainHttp, type PlainHttp } from "../lib/host.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { FetchRequest, PodFailure } from "../net/fetch-request.ts";
import { storeOrigin } from "../signers/index.ts";
import { isKeyId } from "./key-id.ts";
import { cellKey, directoryKey, podKey, tokenKeyKey } from "./keys.ts";
import type { ReadKv } from "./kv.ts";
import type { PodId } from "./pod-id.ts";
import {
  cellRecord,
  type DirectoryRecord,
  directoryRecord,
  type PodRecord,
  parseRecord,
  podRecord,
  tokenKeyRecord,
} from "./records.ts";
import type { Misconfigured } from "./secrets.ts";

/** A Pod as the directory has it. `tokenChecks` changes whenever what its tokens are checked against does. */
export type Pod = PodRecord & { readonly id: PodId; readonly tokenChecks: string };

/** Why the directory could not say: the text is for the log, for it names keys. */
export type DirectoryFailure = { readonly reason: "directory"; readonly text: string };

export type Directory = {
  readonly readKv: ReadKv;
  /** Null when no such Pod is recorded. */
  readonly pod: (id: PodId) => Promise<Result<Pod | null, DirectoryFailure>>;
  readonly settings: () => Promise<Result<DirectoryRecord, DirectoryFailure>>;
  /** The Pod that a token says it is of: as `pod`, but ids that the directory does not list are looked up at a bounded rate. */
  readonly claimedPod: (id: PodId) => Promise<Result<Pod | null, DirectoryFailure>>;
  /** The Pod whose token key has this `kid`; null when the directory knows none. Looked up at a bounded rate. */
  readonly podOfKey: (kid: string) => Promise<Result<PodId | null, DirectoryFailure>>;
  /** The Pod of a GitLab cell; null when the directory knows none. */
  readonly podOfCell: (cell: string) => Promise<Result<PodId | null, DirectoryFailure>>;
};

/** A call to one of the Pod's services, made in the way that the Pod trusts. */
export type FetchPod = (pod: Pod, request: FetchRequest) => Promise<Result<Response, PodFailure | Misconfigured>>;

/** Pods already parsed from exactly this text; parsing one costs more than verifying a token. */
const parsedPods = new BoundedMap<string, Pod>(500);

export function createDirectory(readKv: ReadKv, plainHttp: PlainHttp): Directory {
  const textOf = async (key: string, chosenBy: ChosenBy): Promise<Result<string | null, DirectoryFailure>> => {
    const read = await readKv([key], chosenBy);
    return read.ok ? ok(read.value.get(key) ?? null) : err({ reason: "directory", text: read.error });
  };
  const podNamedBy = async (
    key: string,
    schema: v.GenericSchema<unknown, { readonly pod: PodId }>,
    chosenBy: ChosenBy,
  ) => {
    const text = await textOf(key, chosenBy);
    if (!text.ok) return text;
    const record = parseStored(key, text.value, schema);
    return record.ok ? ok(record.value?.pod ?? null) : record;
  };
  const pod = async (id: PodId, chosenBy: ChosenBy = "directory") => {
    const text = await textOf(podKey(id), chosenBy);
    if (!text.ok || text.value === null) return text.ok ? ok(null) : text;
    return parsePod(id, text.value, plainHttp);
  };
  const settings = async (): Promise<Result<DirectoryRecord, DirectoryFailure>> => {
    const text = await textOf(directoryKey, "directory");
    if (!text.ok) return text;
    const record = parseStored(directoryKey, text.value, directoryRecord);
    return record.ok ? ok(record.value ?? { v: 1, revision: 0, credentials: "own" }) : record;
  };
  return {
    readKv,
    pod: (id) => pod(id),
    claimedPod: async (id) => {
      const listed = await settings();
      if (!listed.ok) return listed;
      return pod(id, listed.value.pods?.includes(id) ? "directory" : "stranger");
    },
    settings,
    podOfKey: async (kid) => (isKeyId(kid) ? podNamedBy(tokenKeyKey(kid), tokenKeyRecord, "stranger") : ok(null)),
    podOfCell: (cell) => podNamedBy(cellKey(cell), cellRecord, "directory"),
  };
}

type ChosenBy = Parameters<ReadKv>[1];

/** Whose the names are that no prefix fits; null where the directory names none. */
export async function defaultPod(directory: Directory): Promise<Result<Pod | null, DirectoryFailure>> {
  const settings = await directory.settings();
  if (!settings.ok) return settings;
  return settings.value.default === undefined ? ok(null) : directory.pod(settings.value.default);
}

/** Every Pod there is: a directory that lists none has its default. */
export async function allPods(directory: Directory): Promise<Result<readonly Pod[], DirectoryFailure>> {
  const settings = await directory.settings();
  if (!settings.ok) return settings;
  const { pods: listed, default: fallback } = settings.value;
  const ids = listed ?? (fallback === undefined ? [] : [fallback]);
  const pods = await Promise.all(ids.map((id) => directory.pod(id)));
  const failed = pods.find((pod) => !pod.ok);
  if (failed !== undefined && !failed.ok) return failed;
  return ok(pods.flatMap((pod) => (pod.ok && pod.value !== null ? [pod.value] : [])));
}

export function parseStored<T>(
  key: string,
  text: string | null,
  schema: v.GenericSchema<unknown, T>,
): Result<T | null, DirectoryFailure> {
  if (text === null) return ok(null);
  const record = parseRecord(key, text, schema);
  return record.ok ? record : err({ reason: "directory", text: record.error });
}

function parsePod(id: PodId, text: string, plainHttp: PlainHttp): Result<Pod, DirectoryFailure> {
  const known = parsedPods.get(text);
  if (known !== undefined && known.id === id) return ok(known);
  const record = parseRecord(podKey(id), text, podRecord);
  if (!record.ok) return err({ reason: "directory", text: record.error });
  const { issuer, audience, keys, registry, token, blobs } = record.value;
  const urls = [registry, token, ...blobs.stores.flatMap((store) => storeOrigin(store) ?? [])];
  const isAllowed = (url: string) => url.startsWith("https://") || allowsPlainHttp(plainHttp, new URL(url).hostname);
  if (!urls.every(isAllowed)) {
    return err({ reason: "directory", text: `record "${podKey(id)}" has a URL that is not https` });
  }
  const pod = { ...record.value, id, tokenChecks: JSON.stringify([issuer, audience, keys]) };
  parsedPods.set(text, pod);
  return ok(pod);
}
