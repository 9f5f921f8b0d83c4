import pMap from "p-map";
import { expect } from "vitest";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import type { Stack } from "../../src/local/stack.ts";
import { createClient, manifestTypes, pushBlob, sha256 } from "./client.ts";
import { manifestType } from "./image.ts";

const indexType = "application/vnd.oci.image.index.v1+json";

/** Pushes a manifest through the edge, and gives its digest. */
export async function push(stack: Stack, repository: string, reference: string | null, text: string): Promise<string> {
  const digest = await sha256(new Uint8Array(Buffer.from(text)));
  const client = createClient(stack.edge);
  const token = await client.token([`repository:${repository}:pull,push`]);
  const { mediaType } = JSON.parse(text) as { mediaType: string };
  const path = `/v2/${repository}/manifests/${reference ?? digest}`;
  const init = { method: "PUT", body: text, headers: { "Content-Type": mediaType } };
  const answer = await client.get(path, token, init);
  if (answer.status !== 201) throw new Error(`${reference} was answered ${answer.status}: ${await answer.text()}`);
  return digest;
}

type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number };

async function pushPart(stack: Stack, repository: string, mediaType: string, text: string): Promise<Descriptor> {
  return { mediaType, digest: await pushBlob(stack, repository, text), size: Buffer.byteLength(text) };
}

/** Pushes a config and a layer, and returns their manifest. */
async function pushParts(stack: Stack, repository: string, config: string, layer: string): Promise<object> {
  return {
    schemaVersion: 2,
    mediaType: manifestType,
    config: await pushPart(stack, repository, "application/vnd.oci.image.config.v1+json", JSON.stringify({ config })),
    layers: [await pushPart(stack, repository, "application/vnd.oci.image.layer.v1.tar", layer)],
  };
}

/** Pushes one image under all of these tags. Its config and layer contain the first tag, so that images differ. */
export async function pushTagged(stack: Stack, repository: string, ...tags: readonly string[]): Promise<string> {
  const text = JSON.stringify(await pushParts(stack, repository, `config ${tags[0]}`, `layer ${tags[0]}`));
  let digest = "";
  for (const tag of tags) digest = await push(stack, repository, tag, text);
  return digest;
}

/** Pushes an index of two images that have no tag of their own. */
export async function pushIndex(stack: Stack, repository: string, tag: string): Promise<string> {
  const manifests: object[] = [];
  for (const architecture of ["amd64", "arm64"]) {
    const text = JSON.stringify(await pushParts(stack, repository, `${architecture} ${tag}`, "shared layer"));
    const digest = await push(stack, repository, null, text);
    manifests.push({
      mediaType: manifestType,
      digest,
      size: Buffer.byteLength(text),
      platform: { os: "linux", architecture },
    });
  }
  return push(stack, repository, tag, JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests }));
}

/** If `tag` is null, the manifest can be found only in the registry's list of referrers. */
export async function pushReferrer(
  stack: Stack,
  repository: string,
  subject: string,
  tag: string | null,
): Promise<string> {
  return push(stack, repository, tag, await referrerText(stack, repository, subject, `signature of ${subject} ${tag}`));
}

async function referrerText(stack: Stack, repository: string, subject: string, layer: string): Promise<string> {
  const parts = await pushParts(stack, repository, "signature", layer);
  const refers = { mediaType: manifestType, digest: subject, size: 1 };
  return JSON.stringify({ ...parts, artifactType: "application/vnd.example.signature", subject: refers });
}

/**
 * Pushes a signature and an attestation of a manifest, each twice: once with a tag of its own, as cosign does, and once as a referrer. If the
 * registry has no list of referrers, the referrers get one common tag (OCI, "Referrers Tag Schema").
 */
async function pushSignatures(stack: Stack, repository: string, subject: string): Promise<void> {
  const tag = subject.replace(":", "-");
  const manifests: object[] = [];
  for (const kind of ["sig", "att"]) {
    await pushReferrer(stack, repository, subject, `${tag}.${kind}`);
    const text = await referrerText(stack, repository, subject, `${kind} of ${subject}`);
    const digest = await push(stack, repository, null, text);
    manifests.push({ mediaType: manifestType, digest, size: Buffer.byteLength(text) });
  }
  await push(stack, repository, tag, JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests }));
}

type Bulk = { readonly repositories: number; readonly tags: number };

/**
 * Pushes this many repositories with this many tags in all, and returns the repositories. Half of the tags are indexes for two platforms, and the
 * first tag of each repository is signed.
 */
export async function pushRepositories(
  stack: Stack,
  group: string,
  { repositories, tags }: Bulk,
): Promise<readonly string[]> {
  const names = Array.from({ length: repositories }, (_, index) => `${group}/bulk${index}`);
  const fill = async (name: string): Promise<void> => {
    for (let index = 0; index < tags / repositories; index += 1) {
      const pushImage = index % 2 === 0 ? pushIndex : pushTagged;
      const digest = await pushImage(stack, name, `v${index}`);
      if (index === 0) await pushSignatures(stack, name, digest);
    }
  };
  await pMap(names, fill, { concurrency: 4 });
  return names;
}

/** Pushes what a group usually has: images, an index for two platforms, and signatures with and without a tag. */
export async function pushGroup(stack: Stack, group: string): Promise<void> {
  const app = `${group}/app`;
  const first = await pushTagged(stack, app, "1", "latest");
  await pushTagged(stack, app, "2");
  const index = await pushIndex(stack, app, "multi");
  await pushReferrer(stack, app, index, null);
  await pushReferrer(stack, app, first, `${first.replace(":", "-")}.sig`);
  await pushTagged(stack, `${group}/team/lib`, "1");
}

/**
 * Reads all manifests of these repositories from the Pod itself, by tag and by digest, and returns their texts. Each blob that they name must match
 * its digest.
 */
export async function contentOf(
  stack: Stack,
  pod: LocalPodId,
  names: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const content: Record<string, string> = {};
  const { registry, token } = stack.pods[pod];
  for (const name of names) {
    const query = new URLSearchParams({ service: `${pod}-registry`, scope: `repository:${name}:pull` });
    const headers = { Authorization: `Basic ${btoa("demo:demo")}` };
    const given = (await (await fetch(`${token.direct}/jwt/auth?${query}`, { headers })).json()) as { token: string };
    const get = (path: string) =>
      fetch(`${registry.direct}/v2/${name}/${path}`, {
        headers: { Authorization: `Bearer ${given.token}`, Accept: manifestTypes },
      });
    const tags = await tagsOf(get);
    const visit = async (reference: string): Promise<void> => {
      const answer = await get(`manifests/${reference}`);
      if (answer.status !== 200) return;
      const text = await answer.text();
      const digest = await sha256(new Uint8Array(Buffer.from(text)));
      content[`${name}:${reference}`] = text;
      if (reference !== digest && content[`${name}:${digest}`] === undefined) await visit(digest);
      if (reference !== digest) return;
      const { manifests = [], layers = [], config } = JSON.parse(text) as Parsed;
      for (const blob of [...(config === undefined ? [] : [config]), ...layers]) {
        const bytes = new Uint8Array(await (await get(`blobs/${blob.digest}`)).arrayBuffer());
        expect(await sha256(bytes)).toBe(blob.digest);
      }
      for (const child of manifests) await visit(child.digest);
      const referrers = await get(`referrers/${digest}`);
      if (referrers.status !== 200) return;
      for (const child of ((await referrers.json()) as Parsed).manifests ?? []) await visit(child.digest);
    };
    for (const tag of tags) await visit(tag);
  }
  return content;
}

/** Reads all pages, because a test may push more tags than a registry lists at once. docker-registry 2.8 lists all tags at once, without a `Link`. */
async function tagsOf(get: (path: string) => Promise<Response>, last = ""): Promise<readonly string[]> {
  const listed = await get(`tags/list?${new URLSearchParams({ n: "1000", ...(last && { last }) })}`);
  if (listed.status !== 200) return [];
  const tags = ((await listed.json()) as { tags: string[] | null }).tags ?? [];
  const end = listed.headers.has("Link") ? tags.at(-1) : undefined;
  return end === undefined ? tags : [...tags, ...(await tagsOf(get, end))];
}

type Named = { readonly digest: string };
type Parsed = { readonly manifests?: readonly Named[]; readonly layers?: readonly Named[]; readonly config?: Named };
