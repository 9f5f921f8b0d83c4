/** Pushes the first images to a Pod as the user `demo`. The requests do not go through the taps, so that no tap lists them. */
import { type Content, helloImage, type Image, privateImage } from "./images.ts";
import type { LocalPod } from "./pods/pod.ts";

const requestMs = 20_000;

export async function seedImages(pod: LocalPod): Promise<void> {
  for (const image of [helloImage(pod.context.prefix), privateImage(pod.context.prefix)]) await push(pod, image);
}

async function push(pod: LocalPod, image: Image): Promise<void> {
  const authorization = `Bearer ${await pushToken(pod, image.repository)}`;
  const repository = `${pod.services.registry.direct}/v2/${image.repository}`;
  for (const blob of [image.config, image.layer]) {
    const upload = await expectStatus(202, `${repository}/blobs/uploads/`, { method: "POST" }, authorization);
    const location = new URL(upload.headers.get("Location") ?? "", `${repository}/blobs/uploads/`);
    location.searchParams.set("digest", blob.digest);
    await expectStatus(201, location.href, put(blob.bytes, "application/octet-stream"), authorization);
  }
  const { bytes, mediaType } = image.manifest;
  await expectStatus(201, `${repository}/manifests/${image.tag}`, put(bytes, mediaType), authorization);
}

const put = (bytes: Content["bytes"], mediaType: string): RequestInit => ({
  method: "PUT",
  body: new Uint8Array(bytes),
  headers: { "Content-Type": mediaType },
});

async function pushToken(pod: LocalPod, repository: string): Promise<string> {
  const url = new URL(`${pod.services.token.direct}/jwt/auth`);
  url.searchParams.set("service", pod.context.audience);
  url.searchParams.set("scope", `repository:${repository}:pull,push`);
  const response = await expectStatus(200, url.href, {}, `Basic ${btoa("demo:demo")}`);
  const { token } = (await response.json()) as { token: string };
  return token;
}

async function expectStatus(status: number, url: string, init: RequestInit, authorization: string): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("Authorization", authorization);
  const response = await fetch(url, { ...init, headers, signal: AbortSignal.timeout(requestMs) });
  if (response.status === status) return response;
  const body = (await response.text()).slice(0, 500);
  throw new Error(`${init.method ?? "GET"} ${new URL(url).pathname} answered ${response.status}: ${body}`);
}
