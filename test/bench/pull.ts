/** Pulls as docker does when it has kept nothing: with a fresh token, and three blobs at a time. */
import pMap from "p-map";
import { parseChallenge } from "../../src/oci/challenge.ts";
import { manifestTypes } from "../support/client.ts";

export type Image = { readonly origin: string; readonly repository: string };

const blobsAtOnce = 3;
/** An image of the bench has a config and nine layers. */
export const blobsOfImage = 10;
/** The 401, the token, the tag's digest, the manifest and the blobs. Requests to the storage are not counted. */
export const requestsOfPull = 4 + blobsOfImage;

export async function pull(image: Image): Promise<void> {
  const token = await requestToken(image);
  const digests = await pullManifest(image, token);
  await pMap(digests, (digest) => pullBlob(image, { digest, token }), { concurrency: blobsAtOnce });
}

/** As clients do, asks for the manifest without a token first. The 401 says which token is needed. */
export async function requestToken({ origin, repository }: Image): Promise<string> {
  const refused = await expectStatus(401, fetch(`${origin}/v2/${repository}/manifests/1`));
  await refused.body?.cancel();
  const challenge = parseChallenge(refused.headers.get("WWW-Authenticate"));
  if (challenge === null) throw new Error("the 401 has no challenge");
  const query = new URLSearchParams({ service: challenge.service, scope: `repository:${repository}:pull` });
  const headers = { Authorization: `Basic ${btoa("demo:demo")}` };
  const answer = await expectStatus(200, fetch(`${challenge.realm}?${query}`, { headers }));
  return ((await answer.json()) as { token: string }).token;
}

/** As docker does, asks for the tag's digest, and then for the manifest by this digest. Returns the digests of the image's blobs. */
export async function pullManifest({ origin, repository }: Image, token: string): Promise<readonly string[]> {
  const headers = { Authorization: `Bearer ${token}`, Accept: manifestTypes };
  const manifests = `${origin}/v2/${repository}/manifests`;
  const tag = await expectStatus(200, fetch(`${manifests}/1`, { method: "HEAD", headers }));
  const digest = tag.headers.get("Docker-Content-Digest") ?? "";
  const answer = await expectStatus(200, fetch(`${manifests}/${digest}`, { headers }));
  const { config, layers } = (await answer.json()) as Record<"config", Descriptor> & Record<"layers", Descriptor[]>;
  return [config, ...layers].map(({ digest }) => digest);
}
type Descriptor = { readonly digest: string };

/** Follows the redirect to the storage without the token. */
async function pullBlob(image: Image, blob: { readonly digest: string; readonly token: string }): Promise<void> {
  const stored = await expectStatus(200, fetch(await blobUrl(image, blob)));
  await stored.arrayBuffer();
}

export async function blobUrl(
  { origin, repository }: Image,
  { digest, token }: { readonly digest: string; readonly token: string },
): Promise<string> {
  const headers = { Authorization: `Bearer ${token}` };
  const url = `${origin}/v2/${repository}/blobs/${digest}`;
  const redirect = await expectStatus(307, fetch(url, { headers, redirect: "manual" }));
  await redirect.body?.cancel();
  return redirect.headers.get("Location") ?? "";
}

async function expectStatus(status: number, answer: Promise<Response>): Promise<Response> {
  const response = await answer;
  if (response.status === status) return response;
  throw new Error(`"${new URL(response.url).pathname}" was answered ${response.status}; want ${status}`);
}
