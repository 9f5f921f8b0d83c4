/** Copies one blob from one registry to another. Its bytes are streamed, and a copy that breaks off is begun again. */
import { setTimeout as sleep } from "node:timers/promises";
import { err, ok, type Result } from "../../lib/result.ts";
import type { Digest } from "../../oci/digest.ts";
import { isDigest, type Reference } from "../../oci/reference.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import { mountLimits } from "../../pods/mount-order.ts";
import { CliFailure } from "../failure.ts";
import { limitTo, wrongLength } from "./blob-length.ts";
import { type GatewayCopy, minGatewayBytes } from "./gateway-copy.ts";
import { readBytes } from "./http-exchange.ts";
import { hasBlob } from "./lists.ts";
import type { NamedBlob } from "./manifest-parts.ts";
import { type Both, isOutage, pausesMs, placeOf, type Registry, textOf } from "./registry.ts";
import { deleteScope, pullScope, pushScope } from "./scopes.ts";

/** `there`: the target has the blob already. `missing`: the source does not have it. `by gateway`: its bytes did not pass through podctl. */
type BlobCopied = "there" | "mounted" | "copied" | "by gateway" | "missing";

const maxAnswerBytes = 64 * 1024;

/** `gateway` is null if the target Pod has no gateway. */
export type CopyWays = Both & { readonly gateway: GatewayCopy | null };

type Copying = {
  readonly blob: NamedBlob;
  /** A repository of the target that has the blob already, if one is known. */
  readonly home: RepositoryName | null;
  /** The tag or digest of the manifest that names the blob. Only messages use it. */
  readonly namedBy: Reference;
};

export async function copyBlob(
  { source, target, gateway }: CopyWays,
  name: RepositoryName,
  { blob, home, namedBy }: Copying,
): Promise<BlobCopied> {
  const { digest } = blob;
  if (await hasBlob(target, name, digest)) return "there";
  const from = home === null || home === name ? null : home;
  // The gateway would refuse a blob that is too large. podctl does not order such a copy, because after a failed order it orders none for a while.
  const isForGateway =
    from === null && gateway !== null && blob.bytes >= minGatewayBytes && blob.bytes <= mountLimits.maxBytes;
  if (isForGateway && (await hasNamedSize(source, name, blob)) && (await gateway(name, digest))) return "by gateway";
  const what = `blob ${digest} of "${nameOf(name, namedBy)}" cannot be copied`;
  let last = "";
  for (const pauseMs of [...pausesMs, null]) {
    const place = await startUpload(target, name, from === null ? null : { digest, from });
    if (place === "mounted") return place;
    const sent = await stream({ source, target }, { name, blob, place });
    if (sent.ok && sent.value === "copied") return sent.value;
    await cancel(target, name, place);
    if (sent.ok) return sent.value;
    last = sent.error.text;
    if (sent.error.kind === "final") throw new CliFailure(`${what}: ${last}`);
    if (pauseMs !== null) await sleep(pauseMs);
  }
  throw new CliFailure(`${what}: ${last}; run the command again, it goes on where it was`);
}

/**
 * Whether the blob has the same size at the source as in its manifest. The gateway would copy a blob of any size. If the sizes differ, podctl itself
 * tries the copy, which then fails with the reason.
 */
async function hasNamedSize(source: Registry, name: RepositoryName, { digest, bytes }: NamedBlob): Promise<boolean> {
  const path = `/v2/${name}/blobs/${digest}`;
  const head = await source.open({ method: "HEAD", path, scopes: [pullScope(name)] });
  if (!head.ok) return false;
  const { status, headers, body } = head.value;
  body.resume();
  return status === 200 && Number(headers["content-length"]) === bytes;
}

export const nameOf = (name: RepositoryName, reference: Reference): string =>
  `${name}${isDigest(reference) ? "@" : ":"}${reference}`;

/**
 * Cancels an upload that was not completed, so that the registry deletes its bytes (OCI end-14). We ignore a failure, because registries delete such
 * uploads by themselves after some time.
 */
async function cancel(target: Registry, name: RepositoryName, place: string): Promise<void> {
  const answer = await target.open({ method: "DELETE", path: place, scopes: [deleteScope(name)] });
  if (answer.ok) answer.value.body.resume();
}

/** Begins an upload (OCI end-4a), or lets the registry mount the blob from `mount.from` (end-11). Returns the path of the upload, or `mounted`. */
async function startUpload(
  target: Registry,
  name: RepositoryName,
  mount: { readonly digest: Digest; readonly from: RepositoryName } | null,
): Promise<string> {
  const query = mount === null ? "" : `?mount=${mount.digest}&from=${mount.from}`;
  const scopes = mount === null ? [pushScope(name)] : [pushScope(name), pullScope(mount.from)];
  const path = `/v2/${name}/blobs/uploads/${query}`;
  const answer = await target.ask({ method: "POST", path, scopes, body: new Uint8Array() });
  if (answer.status === 201) return "mounted";
  const { location } = answer.headers;
  const place = location === undefined ? null : placeOf(location, path, target.pod);
  if (answer.status !== 202 || place === null) {
    throw new CliFailure(
      `Pod "${target.pod.id}" answers ${answer.status} to an upload in "${name}": ${textOf(answer.bytes)}`,
    );
  }
  return place;
}

type Streaming = { readonly name: RepositoryName; readonly blob: NamedBlob; readonly place: string };

/** `passing`: another try may succeed. `final`: no try can. */
type Failed = { readonly kind: "passing" | "final"; readonly text: string };

const passing = (text: string): Result<never, Failed> => err({ kind: "passing", text });
const final = (text: string): Result<never, Failed> => err({ kind: "final", text });

async function stream(
  { source, target }: Both,
  { name, blob, place }: Streaming,
): Promise<Result<"copied" | "missing", Failed>> {
  const { digest } = blob;
  const got = await source.open({ path: `/v2/${name}/blobs/${digest}`, scopes: [pullScope(name)] });
  if (!got.ok) return passing(got.error);
  const { status, headers, body } = got.value;
  if (status !== 200) {
    body.resume();
    if (status === 404) return ok("missing");
    return passing(`Pod "${source.pod.id}" or its storage answers ${status}`);
  }
  const length = headers["content-length"];
  const wrong = wrongLength(length, blob);
  if (wrong !== null) {
    body.destroy();
    return final(`at Pod "${source.pod.id}" ${wrong}`);
  }
  const limited = length === undefined ? limitTo(blob.bytes, body) : { body, isOver: () => false };
  const put = await target.open({
    method: "PUT",
    path: `${place}${place.includes("?") ? "&" : "?"}digest=${digest}`,
    scopes: [pushScope(name)],
    headers: {
      "Content-Type": "application/octet-stream",
      ...(length === undefined ? {} : { "Content-Length": length }),
    },
    body: limited.body,
  });
  body.destroy();
  if (limited.isOver()) {
    if (put.ok) put.value.body.destroy();
    return final(`at Pod "${source.pod.id}" it has more bytes than the ${blob.bytes} of its manifest`);
  }
  if (!put.ok) return passing(put.error);
  const said = await readBytes(put.value.body, maxAnswerBytes);
  if (put.value.status === 201) return ok("copied");
  const text = `Pod "${target.pod.id}" answers ${put.value.status} to the upload: ${said.ok ? textOf(said.value) : ""}`;
  // With one of these statuses, the registry may have forgotten the upload in a restart. So `copyBlob` begins a new upload.
  return isOutage(put.value.status) || [400, 404, 416].includes(put.value.status) ? passing(text) : final(text);
}
