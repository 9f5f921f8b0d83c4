import { err, ok, type Result } from "../lib/result.ts";
import { isStoredAt } from "../oci/digest.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { withParameters } from "../oci/query.ts";
import type { MountOrder } from "../pods/mount-order.ts";
import type { GatewayConfig } from "./config.ts";
import { readRegistryLocation } from "./registry-location.ts";
import { send } from "./send.ts";

type Place = { readonly path: string; readonly query: string };

type Answer = { readonly status: number; readonly location: string | null; readonly digest: string | null };

type Asked = {
  readonly method: "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE";
  readonly target: string;
  readonly body?: AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
};

/** An upload that the gateway makes at its registry by itself, with the token that the edge's order (`MountOrder`) contains. */
export class RegistryUpload {
  readonly order: MountOrder;
  readonly config: GatewayConfig;
  #place: Place;

  private constructor(order: MountOrder, config: GatewayConfig, place: Place) {
    this.order = order;
    this.config = config;
    this.#place = place;
  }

  /** After an error, there is no upload that the caller could cancel. */
  static async begin(
    order: MountOrder,
    config: GatewayConfig,
    signal: AbortSignal,
  ): Promise<Result<RegistryUpload, string>> {
    const target = `/v2/${order.repository}/blobs/uploads/`;
    const answer = await askRegistry({ order, config }, { method: "POST", target, signal });
    if (!answer.ok) return answer;
    if (answer.value.status !== 202) return err(`the registry answered ${answer.value.status} to a new upload`);
    const place = placeIn(answer.value, "POST", { order, config });
    if (place === null) return err("the registry's Location of a new upload leads away from it");
    return ok(new RegistryUpload(order, config, place));
  }

  /**
   * Appends a body, in chunks and without its length. So even a body that ends too early makes a complete request: the registry answers it, and then
   * we can cancel the upload.
   */
  async append(body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Result<null, string>> {
    const answer = await askRegistry(this, { method: "PATCH", target: this.#target(), body, signal });
    if (!answer.ok) return answer;
    if (answer.value.status !== 202) return err(`the registry answered ${answer.value.status} to the blob's bytes`);
    const place = placeIn(answer.value, "PATCH", this);
    if (place === null) return err("the registry's Location of an upload leads away from it");
    this.#place = place;
    return ok(null);
  }

  /** Ends the upload. The registry checks that the bytes have the digest. */
  async finish(signal: AbortSignal): Promise<Result<null, string>> {
    const { digest } = this.order;
    const answer = await askRegistry(this, { method: "PUT", target: this.#target({ digest }), signal });
    if (!answer.ok) return answer;
    const isWhole = answer.value.status === 201 && (answer.value.digest ?? digest) === digest;
    return isWhole ? ok(null) : err(`the registry answered ${answer.value.status} to the blob's digest`);
  }

  /**
   * Removes the upload with its bytes, if the token has the right to delete (distribution, `appendAccessRecords`). Otherwise the upload stays until
   * the registry purges it.
   */
  async cancel(signal: AbortSignal): Promise<void> {
    await askRegistry(this, { method: "DELETE", target: this.#target(), signal });
  }

  #target(added: Readonly<Record<string, string>> = {}): string {
    const query = withParameters(this.#place.query, added);
    return query === "" ? this.#place.path : `${this.#place.path}?${query}`;
  }
}

type Ordered = { readonly order: MountOrder; readonly config: GatewayConfig };

/** Returns where the next request of an upload goes. Null if `Location` is missing, or leads to anything but an upload of this repository. */
function placeIn({ status, location }: Answer, method: "POST" | "PATCH", { order, config }: Ordered): Place | null {
  const { repository: name, edge, registry } = order;
  const about = { name, query: "" };
  const endpoint: RegistryEndpoint =
    method === "POST"
      ? { kind: "upload-start", method, digest: null, mount: null, ...about }
      : { kind: "upload", method, upload: "", ...about };
  const registries = [config.registry, registry];
  const target =
    location === null ? null : readRegistryLocation(location, status, { registries, endpoint, edgeOrigin: edge });
  return target?.endpoint.kind === "upload" ? target : null;
}

/** Whether the repository already has the blob and lets the mount order's token read it. */
export async function isThere(ordered: Ordered, signal: AbortSignal): Promise<boolean> {
  const { repository, digest } = ordered.order;
  const answer = await askRegistry(ordered, { method: "HEAD", target: `/v2/${repository}/blobs/${digest}`, signal });
  if (!answer.ok) return false;
  const { status, location, digest: found } = answer.value;
  // A 200 without the digest may come from a proxy.
  if (status === 200) return found === digest;
  // A registry redirects to its storage only if it has found the blob.
  const target = location === null ? null : URL.parse(location, ordered.config.registry);
  return (status === 302 || status === 307) && target !== null && isStoredAt(target.pathname, digest);
}

async function askRegistry(
  { order, config }: Ordered,
  { method, target, body, signal }: Asked,
): Promise<Result<Answer, string>> {
  const { token, edge } = order;
  const { host, protocol } = new URL(edge);
  const headers = {
    "Accept-Encoding": "identity",
    "X-Forwarded-Host": host,
    "X-Forwarded-Proto": protocol.slice(0, -1),
    ...(body === undefined ? {} : { "Content-Type": "application/octet-stream" }),
    ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
  };
  const sent = { method, headers, signal, ...(body === undefined ? {} : { body }) };
  const answer = await send(config.registry + target, sent);
  if (answer === null) return err(`the registry gave no answer to a ${method}`);
  // The answer's body is not needed: it is empty, or an error that no client sees.
  answer.resume();
  const digest = answer.headersDistinct["docker-content-digest"]?.[0] ?? null;
  return ok({ status: answer.statusCode ?? 0, location: answer.headers.location ?? null, digest });
}
