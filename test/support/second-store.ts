import type { JWK } from "jose";
import { seal, unseal } from "../../src/directory/seal.ts";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import type { Stack } from "../../src/local/stack.ts";
import { startTap, type Tap } from "../../src/local/taps/tap.ts";
import { placeholdersOf, readStackKv } from "./toy-stack.ts";

type SealingKeys = { readonly publicJwk: JWK; readonly privateJwk: JWK };
type StoredPod = { readonly blobs: { readonly stores: readonly object[] } };

/**
 * Gives a Pod a second store: the Pod's own storage behind another tap, which can have faults of its own. `sealingKeys` are the keys that the stack
 * was started with.
 */
export async function addSecondStore(stack: Stack, pod: LocalPodId, sealingKeys: SealingKeys): Promise<Tap> {
  const tap = await startTap(Number(new URL(stack.pods[pod].storage.direct).port), "localhost");
  const placeholder = await placeholdersOf(stack, pod);
  const place = { pod, field: "blobs.stores.0.credentials", scheme: "s3", target: pod };
  const secret = await unseal(placeholder("STORAGE_CREDENTIALS"), place, [sealingKeys.privateJwk]);
  if (!secret.ok) throw new Error(secret.error);
  const credentials = await seal(
    secret.value,
    { ...place, field: "blobs.stores.1.credentials" },
    sealingKeys.publicJwk,
  );
  const key = `pod/${pod}`;
  const record = JSON.parse((await readStackKv(stack, [key])).get(key) ?? "") as StoredPod;
  const [first] = record.blobs.stores;
  const stores = [first, { ...first, endpoint: tap.url, credentials }];
  await stack.putKv(key, JSON.stringify({ ...record, blobs: { ...record.blobs, stores } }));
  // The edge still remembers the record with one store.
  await stack.restartEdge();
  return tap;
}
