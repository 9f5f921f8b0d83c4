import type { JWK } from "jose";
import { seal, unseal } from "../../src/directory/seal.ts";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import type { Stack } from "../../src/local/stack.ts";
import { startProxy } from "./proxy.ts";
import { placeholdersOf } from "./toy-stack.ts";

export type PodRecord = {
  readonly registry: string;
  readonly token: string;
  readonly issuer: string;
  readonly audience: string;
  readonly keys: readonly JWK[];
  readonly trust?: object;
  readonly blobs: { readonly hosts: readonly string[]; readonly proof: string; readonly stores: readonly Store[] };
  readonly probe: { readonly repository: string; readonly digest: string };
};
type Store = Readonly<Record<string, unknown>>;

/** What is wrong with a Pod. Most members replace members of its record. */
export type Sickness = Partial<Omit<PodRecord, "blobs">> & {
  readonly blobs?: Partial<PodRecord["blobs"]>;
  /** Replaces members of the record's first store. */
  readonly store?: Store;
  readonly proof?: string;
  /** These stores come after the record's first store. */
  readonly moreStores?: readonly Store[];
  /** Which secret is put into the first store's record, and for which Pod and target it is sealed. */
  readonly sealedFor?: { readonly pod?: string; readonly target?: string; readonly secret?: string };
};

type Keys = { readonly publicJwk: JWK; readonly privateJwk: JWK };

export async function healthyRecords(stack: Stack): Promise<Readonly<Record<LocalPodId, PodRecord>>> {
  const recordOf = async (id: LocalPodId, repository: string): Promise<PodRecord> => {
    const value = await placeholdersOf(stack, id);
    const credentials = value("STORAGE_CREDENTIALS");
    return {
      registry: value("REGISTRY"),
      token: value("TOKEN"),
      issuer: `${id}-issuer`,
      audience: `${id}-registry`,
      keys: [JSON.parse(value("KEY")) as JWK],
      blobs: {
        hosts: [value("STORAGE_HOST"), value("STORAGE_DIRECT_HOST")],
        proof: "head",
        stores: [{ scheme: "s3", endpoint: value("STORAGE"), region: "us-east-1", bucket: id, credentials }],
      },
      probe: { repository, digest: value("PROBE_DIGEST") },
    };
  };
  return { "pod-a": await recordOf("pod-a", "acme/hello"), "pod-b": await recordOf("pod-b", "globex/hello") };
}

/** A healthy Pod's record with another id and one thing wrong. Its storage credentials are sealed again for that id. */
export async function sickRecord(id: string, healthy: PodRecord, sickness: Sickness, keys: Keys): Promise<PodRecord> {
  const { store, moreStores = [], blobs, proof = healthy.blobs.proof, sealedFor, ...members } = sickness;
  const [own] = healthy.blobs.stores;
  const place = { field: "blobs.stores.0.credentials", scheme: "s3" };
  const source = { ...place, pod: "pod-b", target: "pod-b" };
  const opened = await unseal(String(own?.["credentials"]), source, [keys.privateJwk]);
  if (!opened.ok) throw new Error(opened.error);
  const { secret = opened.value, pod = id, target = "pod-b" } = sealedFor ?? {};
  const credentials = await seal(secret, { ...place, pod, target }, keys.publicJwk);
  return {
    ...healthy,
    ...members,
    blobs: { ...healthy.blobs, proof, stores: [{ ...own, credentials, ...store }, ...moreStores], ...blobs },
  };
}

/** Makes an azure store. It has every blob whose path matches `path`, and no other. */
export async function azureStore(
  { pod, path, legacyRoot = false }: { readonly pod: string; readonly path: RegExp; readonly legacyRoot?: boolean },
  keys: Keys,
): Promise<Sickness> {
  const place = { pod, field: "blobs.stores.0.credentials", scheme: "azure", target: "poda/registry" };
  const credentials = await seal(JSON.stringify({ accountKey: btoa("a key") }), place, keys.publicJwk);
  const found = { inPlace: 200, headers: { "Content-Length": 5 } };
  const proxy = await startProxy("http://nothing.test", ({ url }) => (path.test(url ?? "") ? found : { inPlace: 404 }));
  const endpoint = proxy.replace("127.0.0.1", "localhost");
  const store = { scheme: "azure", endpoint, account: "poda", container: "registry", addressing: "path", credentials };
  return { blobs: { stores: [legacyRoot ? { ...store, legacyRoot } : store] } };
}
