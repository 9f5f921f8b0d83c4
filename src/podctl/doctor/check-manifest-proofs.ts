import * as v from "valibot";
import type { Pod } from "../../directory/directory.ts";
import { parseJson } from "../../lib/json.ts";
import type { Result } from "../../lib/result.ts";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import { manifestBlobs } from "../../oci/manifest-blobs.ts";
import { parseReference } from "../../oci/reference.ts";
import { answerOf, type Called, call, storageError } from "../http-call.ts";
import type { PodWithProbe, Repository } from "./pod-under-test.ts";

const check = "manifest proof";
/** These limits are enough, because a probe repository has few tags and small images. */
const [maxTags, maxChildren, maxBlobs] = [20, 5, 20];
const accept = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
].join(", ");
const tagList = v.object({ tags: v.array(v.string()) });
const index = v.object({ manifests: v.array(v.object({ digest: v.string() })) });
const oneByte = { Range: "bytes=0-0" };

/** Whether a manifest that names a blob is enough for the edge to sign the blob's URL. */
export const signsByManifests = ({ blobs }: Pod): boolean =>
  blobs.proof === "manifest" && blobs.stores.some(({ scheme }) => scheme !== "pod");

/**
 * Gets one byte of each blob of the probe's image through the edge. A pull-through cache may serve a manifest before its blobs are in the storage,
 * and the edge then redirects clients to missing objects.
 */
export async function checkManifestProofs({ checks, probe }: PodWithProbe, repository: Repository): Promise<void> {
  const blobs = await findImage(repository, probe.digest);
  if (blobs === null) {
    return checks.skip(check, `no image of the first ${maxTags} tags of "${probe.repository}" has the probe's blob`);
  }
  // The edge records the blobs of a manifest a moment after it has answered our GET of that manifest. To give it this moment, we begin with the
  // probe's blob, which the edge already knows from our earlier HEAD.
  const others = blobs.filter((digest) => digest !== probe.digest);
  for (const digest of [probe.digest, ...others].slice(0, maxBlobs)) {
    // We send no HEAD, because the edge would forward it, and a pull-through cache would then fetch the missing blob.
    const answer = await fetchByte(`${repository.url}/blobs/${digest}`, repository.headers);
    const told = answerOf(answer);
    if (told === 200 || told === 206) continue;
    const text = `the image with the probe's blob names ${digest}, whose GET is answered: ${told}`;
    return checks.found(check, answer.ok && isMissing(answer.value) ? "proof-without-blob" : "edge-differs", text);
  }
  checks.ok(check, "the storage has the blobs of the probe's image");
}

/** Returns all blobs of an image that has the wanted blob. Null if the repository's first tags name no such image. */
async function findImage(repository: Repository, wanted: Digest): Promise<readonly Digest[] | null> {
  const list = await call(`${repository.url}/tags/list?n=${maxTags}`, { headers: repository.headers });
  const { tags } = parsedAs(tagList, list.ok ? list.value.text : "") ?? { tags: [] };
  for (const tag of tags.slice(0, maxTags)) {
    const found = await readManifest(repository, tag);
    for (const child of found.children.slice(0, maxChildren)) {
      const { blobs } = await readManifest(repository, child);
      if (blobs.includes(wanted)) return blobs;
    }
    if (found.blobs.includes(wanted)) return found.blobs;
  }
  return null;
}

type Manifest = { readonly blobs: readonly Digest[]; readonly children: readonly string[] };

async function readManifest({ url, headers }: Repository, reference: string): Promise<Manifest> {
  const parsed = parseReference(reference);
  const answer = parsed.ok
    ? await call(`${url}/manifests/${parsed.value}`, { headers: { ...headers, Accept: accept } })
    : null;
  if (answer?.ok !== true || answer.value.status !== 200) return { blobs: [], children: [] };
  const { headers: answered, text } = answer.value;
  return {
    blobs: manifestBlobs(answered.get("Content-Type"), Buffer.from(text)),
    children: parsedAs(index, text)?.manifests.flatMap(({ digest }) => (parseDigest(digest).ok ? digest : [])) ?? [],
  };
}

/** S3 answers AccessDenied in place of 404 if the access key may not list the bucket. This key is good, because it gave us the probe's blob. */
const isMissing = (answer: Called): boolean => answer.status === 404 || storageError(answer) === "AccessDenied";

async function fetchByte(url: string, headers: Repository["headers"]): Promise<Result<Called, string>> {
  const answer = await call(url, { headers: { ...headers, ...oneByte } });
  const location = answer.ok && answer.value.status === 307 ? answer.value.headers.get("Location") : null;
  return location === null ? answer : call(new URL(location, url), { headers: oneByte });
}

function parsedAs<T>(schema: v.GenericSchema<unknown, T>, text: string): T | null {
  const parsed = v.safeParse(schema, parseJson(text));
  return parsed.success ? parsed.output : null;
}
