import type { Stack } from "../../src/local/stack.ts";
import { type Client, clientOf, pushBlob, sha256 } from "./client.ts";

export const manifestType = "application/vnd.oci.image.manifest.v1+json";
const layerType = "application/vnd.oci.image.layer.v1.tar";

type Pushed = { readonly digest: string; readonly text: string; readonly blobs: readonly string[] };

/** A blob of a manifest. Its size matters only to `podctl move`, which copies no blob that has another size. */
type Named = string | { readonly digest: string; readonly size: number };

export function manifestText([config = "", ...layers]: readonly Named[]): string {
  const descriptor = (mediaType: string) => (named: Named) => ({
    mediaType,
    ...(typeof named === "string" ? { digest: named, size: 1 } : named),
  });
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: manifestType,
    config: descriptor("application/vnd.oci.image.config.v1+json")(config),
    layers: layers.map(descriptor(layerType)),
  });
}

export async function putManifest(
  to: Stack | Client,
  repository: string,
  tag: string,
  text: string,
): Promise<Response> {
  const client = clientOf(to);
  const token = await client.token([`repository:${repository}:pull,push`]);
  const headers = { "Content-Type": manifestType };
  return client.get(`/v2/${repository}/manifests/${tag}`, token, { method: "PUT", body: text, headers });
}

/** Pushes a config, layers and their manifest with the tag `1`. The blobs are small, and no two are equal. */
export async function pushImage(to: Stack | Client, repository: string, layers: number): Promise<Pushed> {
  const blobs: string[] = [];
  for (let index = 0; index <= layers; index += 1) {
    blobs.push(await pushBlob(to, repository, `blob ${index} of ${repository}`));
  }
  const text = manifestText(blobs);
  const answer = await putManifest(to, repository, "1", text);
  if (answer.status !== 201) throw new Error(`manifest was answered ${answer.status}: ${await answer.text()}`);
  return { digest: await sha256(new Uint8Array(Buffer.from(text))), text, blobs };
}
