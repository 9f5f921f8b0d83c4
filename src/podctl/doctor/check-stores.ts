import { setTimeout as sleep } from "node:timers/promises";
import type { ProbedStore } from "../../edge/probed.ts";
import { storeOrigin } from "../../signers/index.ts";
import { edgeHostAbove } from "../../topology/check-pod.ts";
import { type Called, call, storageError } from "../http-call.ts";
import { signsByManifests } from "./check-manifest-proofs.ts";
import type { Finding } from "./findings.ts";
import type { PodUnderTest, PodWithProbe } from "./pod-under-test.ts";

const pausesMs = [250, 500, 1_000];

/** Sends HEAD and GET to each store, with URLs that the edge signed. */
export async function checkStores(tested: PodWithProbe): Promise<void> {
  const { pod, checks, probed } = tested;
  if (pod.blobs.stores.length === 0) return checks.skip("stores", "the Pod has no store: the edge streams its blobs");
  if (probed?.ok !== true) return checks.skip("stores", "/-/probe gives no URLs for this Pod");
  for (const store of probed.value.stores) {
    if (signsByManifests(pod)) await waitForBlob(store);
    await checkStore(tested, store);
  }
}

/**
 * Waits a moment for a blob that a pull-through cache may not have stored yet. Only `checkManifestProofs` reports caches that store blobs late. S3
 * answers 403 in place of 404 if the key may not list the bucket.
 */
async function waitForBlob(store: ProbedStore): Promise<void> {
  if (!("urls" in store)) return;
  for (const pauseMs of pausesMs) {
    const head = await call(store.urls.HEAD, { method: "HEAD" });
    if (!head.ok || ![403, 404].includes(head.value.status)) return;
    await sleep(pauseMs);
  }
}

async function checkStore({ checks, clocks }: PodUnderTest, store: ProbedStore): Promise<void> {
  const check = `store ${store.store} (${store.scheme})`;
  if ("redirectsByItself" in store) return checks.ok(check, "the Pod redirects by itself");
  if ("error" in store) return checks.found(check, "store-sealed", store.error);
  const head = await call(store.urls.HEAD, { method: "HEAD" });
  const get = await call(store.urls.GET, { headers: { Range: "bytes=0-0" } });
  const { host } = new URL(store.urls.GET);
  if (!head.ok) return checks.found(check, "store-unreachable", `HEAD at ${host}: ${head.error}`);
  clocks.see("a store", head.value);
  if (!get.ok) return checks.found(check, "store-unreachable", `GET at ${host}: ${get.error}`);
  clocks.see("a store", get.value);
  const failed = [get.value, head.value].find(({ status }) => status !== 200 && status !== 206);
  if (failed !== undefined) {
    if (failed.status === 404 && (await isBelowOtherRoot(store))) {
      return checks.found(
        check,
        "store-legacy-root",
        "the blob is in the container, below the other one of Azure's two roots",
      );
    }
    const method = failed === get.value ? "GET" : "HEAD";
    const code = storageError(get.value);
    return checks.found(check, findingOf(failed.status, code), `${method} is answered ${failed.status} ${code}`.trim());
  }
  const [whole, announced] = [sizeOf(get.value), Number(head.value.headers.get("Content-Length") ?? Number.NaN)];
  if (whole !== announced)
    return checks.found(check, "store-wrong", `GET says ${bytes(whole)}, HEAD says ${bytes(announced)}`);
  checks.ok(check, `HEAD and GET, ${whole} bytes`);
}

async function isBelowOtherRoot(store: ProbedStore): Promise<boolean> {
  if (!("otherRoot" in store) || store.otherRoot === undefined) return false;
  const head = await call(store.otherRoot, { method: "HEAD" });
  return head.ok && head.value.status === 200;
}

/** The codes by which S3 says that the bucket is not in this region or not at this endpoint. */
const elsewhereCodes = [
  "AuthorizationHeaderMalformed",
  "AuthorizationQueryParametersError",
  "IllegalLocationConstraintException",
  "PermanentRedirect",
  "TemporaryRedirect",
];

function findingOf(status: number, code: string): Finding {
  if (elsewhereCodes.includes(code)) return "store-region";
  if (status === 404 || status === 410) return "store-missing";
  return status >= 400 && status < 500 ? "store-refuses" : "store-wrong";
}

/**
 * Returns the size of the whole blob. A 206 names it in Content-Range (RFC 9110 §14.4). A server may also answer a range request with the whole blob,
 * and then the size is the Content-Length.
 */
function sizeOf({ status, headers }: Called): number {
  const total = /\/(\d+)$/.exec(headers.get("Content-Range") ?? "")?.[1];
  return Number(status === 206 ? (total ?? Number.NaN) : (headers.get("Content-Length") ?? Number.NaN));
}

const bytes = (size: number): string => (Number.isNaN(size) ? "no size" : `${size} bytes`);

export function checkBlobHosts({ pod, checks, deployment }: PodUnderTest): void {
  const storeHosts = pod.blobs.stores
    .map(storeOrigin)
    .flatMap((origin) => (origin === null ? [] : new URL(origin).host));
  const hosts = [...new Set([...pod.blobs.hosts, ...storeHosts])];
  const under = hosts.filter((host) => edgeHostAbove(hostnameOf(host), deployment.edgeHosts) !== undefined);
  if (under.length === 0) checks.ok("blob hosts", hosts.join(", ") || "none");
  else checks.found("blob hosts", "blob-host-under-edge", `"${under.join('", "')}" is the edge's host or below it`);
}

const hostnameOf = (host: string): string => URL.parse(`http://${host}`)?.hostname ?? host;
