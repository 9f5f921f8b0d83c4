import type http from "node:http";
import { expect } from "vitest";
import { parseDigest } from "../../src/oci/digest.ts";
import { type MountOrder, mountLimits, sealOrder } from "../../src/pods/mount-order.ts";
import { edgeOrigin, repositoryName, type TestGateway } from "./gateway.ts";
import { serveForTest, sha256 } from "./toy-pod.ts";

export const repository = repositoryName("acme/target");
export const uploads = `/v2/${repository}/blobs/uploads/`;
export const blob = Buffer.alloc(300_000, "a blob of another Pod ");

export const digestOf = (body: Uint8Array) => {
  const digest = parseDigest(sha256(body));
  if (!digest.ok) throw new Error(digest.error);
  return digest.value;
};

/** Starts another Pod's store. `seen` lists its requests, each with its token. */
export async function startSource(answer: http.RequestListener) {
  const seen: string[] = [];
  const port = await serveForTest((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? "without a token"}`);
    answer(request, response);
  });
  return { seen, url: `http://127.0.0.1:${port}/pod-b/data?X-Amz-Signature=secret` };
}

export const sends =
  (body: Uint8Array): http.RequestListener =>
  (_, response) =>
    void response.writeHead(200, { "Content-Length": body.byteLength }).end(body);

export const scope = (...actions: readonly string[]) => `repository:${repository}:${actions.join(",")}`;

export async function orderOf(
  { pod }: TestGateway,
  url: string,
  changed: Partial<MountOrder> = {},
): Promise<MountOrder> {
  const token = await pod.token(scope("pull", "push", "delete"));
  const to = { pod: "pod-a", repository, token, registry: pod.registry, edge: edgeOrigin };
  return { ...to, digest: digestOf(blob), url, copyMs: mountLimits.copyMs, ...changed };
}

export async function mount({ url, config }: TestGateway, order: MountOrder, signal?: AbortSignal): Promise<Response> {
  const body = await sealOrder(order, { keys: config.keys, now: new Date() });
  const path = `/v2/${order.repository}/blobs/uploads/`;
  return fetch(url + path, { method: "POST", body, ...(signal === undefined ? {} : { signal }) });
}

export const statusesAt = ({ tap }: TestGateway) => tap.seen().map(({ method, status }) => `${method} ${status}`);

/** Expects that the registry has neither the blob nor an upload that the gateway began. */
export async function expectNothingLeft({ pod, tap }: TestGateway): Promise<void> {
  const head = await pod.ask("HEAD", `/v2/${repository}/blobs/${digestOf(blob)}`, scope("pull"));
  expect(head.status).toBe(404);
  const begun = tap.seen().flatMap(({ path }) => path.split("?")[0]?.split("/uploads/")[1] || []);
  for (const upload of new Set(begun)) {
    expect((await pod.ask("GET", uploads + upload, scope("pull"))).status).toBe(404);
  }
}

export async function causeOf(answer: Response): Promise<string> {
  const { errors } = (await answer.json()) as { errors: { message: string }[] };
  return errors[0]?.message ?? "";
}
